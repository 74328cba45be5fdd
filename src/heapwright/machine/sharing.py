"""Pages that share a frame: the kernel calls by which an allocator lets several of its pages lead to one frame.

    page A -> +-------+ <- page B
              | frame |
              +-------+

As Linux does for pages of a shared mapping, with mremap(2) and madvise(2). A forked child shares these frames with its
parent until it takes others.

The machine knows which part of a shared frame belongs to which page. Through another page nobody may touch that part:
its bytes there have no owner.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from heapwright.machine.shadow import ALLOCATOR, WRITTEN
from heapwright.machine.space import Space

if TYPE_CHECKING:
    from heapwright.machine.state import ProcessState

PART = 16  # bytes that one bit stands for
NOBODY = bytes([0]) * PART
OPENED = bytes(code or ALLOCATOR | WRITTEN for code in range(256))


class SharedFrames:
    """The kernel calls of a view that concern shared frames. Pages are named by their addresses."""

    process: ProcessState
    own: int
    _keep_live: Callable[[str, int, int], None]
    _called: Callable[[str, tuple[int, ...], int], int]

    def spare_frames(self, count: int) -> int:
        space: Space = self.process.space
        start = space.mmap(count * space.page, self.own)
        for page in range(start, start + count * space.page, space.page) if start != -1 else ():
            space.frames.share(space.frame_at(page))
        return self._called("spare_frames", (count,), start)

    def drop_frames(self, start: int, count: int) -> None:
        space: Space = self.process.space
        space.unmap_mappings(start, start + count * space.page)
        self._called("drop_frames", (start, count), 0)

    def save_frame(self, spare: int, page: int) -> int:
        frames, space = self.process.kernel.frames, self.process.space
        frames.bytes_of(space.frame_at(spare))[:] = frames.bytes_of(space.frame_at(page))
        return self._called("save_frame", (spare, page), 0)

    def take_frame(self, spare: int, page: int) -> int:
        result = -1 if self.process.kernel.calls.due() else take(self.process.space, spare, page)
        return self._called("take_frame", (spare, page), result)

    def alias_frame(self, source: int, target: int, parts: int) -> int:
        result = -1 if self.process.kernel.calls.due() else 0
        if result == 0:
            space, size = self.process.space, self.process.space.page // PART // 8
            bits = int.from_bytes(self.process.peek(parts, size), "little") if parts else 0
            before = space.frames.bytes_of(space.frame_at(target))[:]
            self._halfway("alias_frame")
            lead(space, source, target)
            self._halfway("alias_frame")
            copy_parts(space, target, before, [part * PART for part in range(size * 8) if bits >> part & 1])
            if parts:
                divide(space, source, target, bits)
        return self._called("alias_frame", (source, target, parts), result)

    def part_frame(self, page: int, is_last: int, keeps: int) -> int:
        space = self.process.space
        if not keeps:
            self._keep_live(f"part_frame({page:#x})", page, space.page)
        result = -1 if self.process.kernel.calls.due() or not part(space, page, bool(keeps)) else 0
        return self._called("part_frame", (page, is_last, keeps), result)

    # --- the other threads, which may write to a page while it moves

    def stop_others(self) -> int:
        result = -1 if self.process.kernel.calls.due() else 0
        if result == 0 and self.process.scheduler:
            self.process.scheduler.stop_others()
        return self._called("stop_others", (), result)

    def resume_others(self) -> None:
        if self.process.scheduler:
            self.process.scheduler.resume_others()
        self._called("resume_others", (), 0)

    def _halfway(self, call: str) -> None:
        if self.process.scheduler:
            self.process.scheduler.halfway(call)


def take(space: Space, spare: int, page: int) -> int:
    """Let a page lead to a spare frame instead of its own, and unmap the spare page."""
    frame = space.frame_at(spare)
    space.frames.use(frame, space.owner)
    space.lead(page, frame)
    space.unmap_mappings(spare, spare + space.page)
    return 0


def lead(space: Space, source: int, target: int) -> None:
    """Let `target` lead to the frame of `source`."""
    frame = space.frame_at(source)
    space.frames.use(frame, space.owner)
    space.lead(target, frame)


def copy_parts(space: Space, target: int, before: bytearray, places: list[int]) -> None:
    """Copy the parts of a page's former contents that belong to it."""
    there = space.frames.bytes_of(space.frame_at(target))
    for place in places:
        there[place : place + PART] = before[place : place + PART]


def divide(space: Space, source: int, target: int, bits: int) -> None:
    """Take each part of a shared frame away from the page that does not have it."""
    for part in range(space.page // PART):
        loser = source if bits >> part & 1 else target
        space.shadow.write(loser + part * PART, NOBODY)


def part(space: Space, page: int, keeps: bool) -> bool:
    """Give a page a frame of its own, full of zeros or of the same contents."""
    new = space.frames.take(space.owner)
    if not new:
        return False
    space.frames.bytes_of(new)[:] = space.frames.bytes_of(space.frame_at(page)) if keeps else bytes(space.page)
    space.lead(page, new)
    codes = space.shadow.read(page, space.page).translate(OPENED)
    space.shadow.write(page, codes if keeps else bytes([ALLOCATOR | WRITTEN]) * space.page)
    return True
