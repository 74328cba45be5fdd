"""The address space of one process: its image, its heap up to the break, its mappings.

    0           text            R X U
                data and bss    R W U   the words of the allocator's `Heap`
                guard page      R W     not U: a stack that overflows faults
                stack           R W U
    heap_start  heap            R W U   up to the break, which moves by the byte (sys_sbrk)
                ...
                mappings        R W U   from the top down, with a frame when touched
    maxva - 2p  trapframe       R W     the kernel's
    maxva - 1p  trampoline      R X     the kernel's

As in xv6 kernel/memlayout.h, kernel/vm.c (uvmalloc, uvmdealloc, uvmcopy) and kernel/proc.c (growproc).
Sizes and addresses are in bytes. A call that fails returns -1 and changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import takewhile

from heapwright.machine.kernel import Kernel
from heapwright.machine.mappings import Mappings
from heapwright.machine.page_table import FLAGS, LAZY, RESERVED, R, U, V, W, X
from heapwright.machine.pages import Pages
from heapwright.machine.shadow import ALLOCATOR, USER, WRITTEN

HEAP = R | W | U  # the flags of the heap's pages


class Space(Pages):
    """The memory of the process `owner`."""

    MAX_SBRK = (1 << 63) - 1  # the largest argument of sbrk, an intptr_t as in sbrk(2)

    def __init__(self, kernel: Kernel, owner: int):
        super().__init__(kernel, owner)
        self.mappings = Mappings(self.trapframe, kernel.merges)
        self.data = self.guard = self.heap_start = self.brk = 0
        self.segments: list[tuple[int, int, int]] = []  # (start, end, owner): the heap in address order
        self.broken: list[str] = []  # violations of V4 so far
        self._map_kernel_pages()

    # --- the image

    def _map_kernel_pages(self) -> None:
        trapframe = self.frames.take(self.owner)
        trampoline = self.trapframe + self.page
        if not trapframe or not self.table.map(self.trapframe, trapframe, R | W):
            raise MemoryError("the machine has too few frames for a process")
        self.table.map(trampoline, self.kernel.trampoline, R | X)  # on the trapframe's level: needs no frame

    def load_image(self, text: int, data: int, stack: int) -> None:
        """Map text, data, guard page and stack (exec in xv6 kernel/exec.c)."""
        sizes = [self.round_up(max(size, 1)) for size in (text, data, self.page, stack)]
        flags = [R | X | U, R | W | U, R | W, R | W | U]
        owners = [0, USER | WRITTEN, 0, USER | WRITTEN]
        starts = []
        for size, bits, code in zip(sizes, flags, owners, strict=True):
            starts.append(self.brk)
            if self._map_range(self.brk, self.brk + size, bits) is False:
                raise MemoryError("the machine has too few frames for a process")
            self.shadow.fill(self.brk, size, code)
            self.brk += size
        self.data, self.guard = starts[1], starts[2]
        self.heap_start = self.brk

    # --- sbrk

    def sbrk_argument(self, n: int) -> int:
        """The argument that the kernel's sbrk gets when a program passes `n`, a number of 64 bits."""
        return n

    def sbrk(self, n: int, own: int = ALLOCATOR) -> int:
        """Move the break by `n` bytes and return the old one; `own` owns the new bytes."""
        old, frames = self.brk, self.frames.taken
        done = self._grow(n, own) if n > 0 else self._shrink(n, own) if n < 0 else True
        if done:
            return old
        if (self.brk, self.frames.taken) != (old, frames):
            self.broken.append(f"V4 sbrk({n}) failed with break {old:#x} -> {self.brk:#x}, "
                               f"frames {frames} -> {self.frames.taken}")  # fmt: skip
        return -1

    def _grow(self, n: int, own: int) -> bool:
        new = self.brk + n
        if self.kernel.calls.due() or self.kernel.breaks.due():
            return False
        if not self.may_grow_to(new):
            return False
        first, last = self.round_up(self.brk), self.round_up(new)
        if not self._map_heap(first, last):
            return False
        self.shadow.fill(self.brk, n, own)
        self._note(self.brk, new, own)
        self.brk = new
        return True

    def may_grow_to(self, new: int) -> bool:
        """Whether the break may rise to `new`: the heap must end below the mappings."""
        return new <= self.mappings.bottom

    def _map_heap(self, first: int, last: int, flags: int = HEAP) -> bool:
        if self.kernel.lazy:
            return self._map_lazily(first, last, flags)
        return not self._is_hopeless(first, last) and self._map_range(first, last, flags)

    def _is_hopeless(self, first: int, last: int) -> bool:
        """Whether there are too few frames for a range; the growth then fails at once instead of after a roll-back."""
        return (last - first) // self.page > self.frames.available

    def _shrink(self, n: int, own: int) -> bool:
        old, new = self.brk, self.brk + n
        if not self.may_shrink_to(new) or self.kernel.returns.due():
            return False
        first, last = self.round_up(new), self.round_up(old)
        if not self._release(first, last):
            return False
        self.brk = self._break_after(new)
        if self.brk > old:
            self.shadow.fill(old, self.brk - old, own)
        elif self.brk < first:
            self.shadow.fill(self.brk, first - self.brk, 0)
        self._note(min(old, self.brk), self.brk, own)
        return True

    def may_shrink_to(self, new: int) -> bool:
        """Whether the break may fall to `new`: it must stay above the heap's start."""
        return new >= self.heap_start

    def _break_after(self, new: int) -> int:
        """The break after a shrink to `new`."""
        return new

    def _note(self, start: int, end: int, own: int) -> None:
        """Cut the segments off at `start`, then add one up to `end`."""
        kept = [(low, min(high, start), who) for low, high, who in self.segments if low < start]
        if kept and kept[-1][1:] == (start, own):
            start = kept.pop()[0]
        self.segments = [*kept, (start, end, own)] if start < end else kept

    def extent(self, own: int) -> tuple[int, int, int]:
        """The start of the heap of `own`, the start of its last segment, and the end of both; zeros if it has none."""
        mine = [(start, end) for start, end, who in self.segments if who == own]
        return (mine[0][0], *mine[-1]) if mine else (0, 0, 0)

    def held(self, own: int) -> int:
        """The bytes of heap and mappings that `own` has."""
        return sum(end - start for start, end, who in self.segments if who == own) + self.mappings.size_of(own)

    # --- mappings

    def mmap(self, size: int, own: int = ALLOCATOR) -> int:
        """Map zeroed pages at the highest free place; their frames are promised now and taken on first touch."""
        size = self.round_up(size)
        if size <= 0 or self.kernel.calls.due():
            return -1
        start = self._place(size, own)
        if not start or not self._map_mapping(start, start + size):
            return -1
        self.mappings.add(start, start + size, own)
        self.shadow.fill(start, size, own | WRITTEN)
        return start

    def _place(self, size: int, own: int, more: int = 0) -> int:
        """An address for a mapping of this size; 0 if there is no room, or if it and `more` others exceed the limit."""
        start = self.mappings.place(size, self.round_up(self.brk))
        count = self.mappings.count_with(start, start + size, own) + more
        return start if count <= self.kernel.max_mappings else 0

    def _map_mapping(self, start: int, end: int) -> bool:
        count = (end - start) // self.page
        if not self.frames.reserve(count):
            return False
        if not self._map_lazily(start, end, R | W | U | RESERVED):
            self.frames.unreserve(count)
            return False
        return True

    def munmap(self, address: int, size: int) -> int:
        """Unmap every page of a range that lies in mappings; return 0 even if nothing was mapped (munmap(2))."""
        end = address + self.round_up(size)
        is_wrong = address % self.page or size <= 0 or address < self.round_up(self.brk) or end > self.mappings.top
        if is_wrong or self.kernel.returns.due():
            return -1
        if self.mappings.splits(address, end) and len(self.mappings) >= self.kernel.max_mappings:
            return -1
        self.unmap_mappings(address, end)
        return 0

    def unmap_mappings(self, first: int, last: int) -> None:
        for start, end in self.mappings.inside(first, last):
            self._release_mapped(start, end)
            self.mappings.cut(start, end)

    def mremap(self, address: int, old_size: int, new_size: int, may_move: int, own: int = ALLOCATOR) -> int:
        """Resize a range inside one mapping: in place if there is room, else elsewhere if it may move."""
        old_size, new_size = self.round_up(old_size), self.round_up(new_size)
        end, mapping = address + old_size, self.mappings.find(address)
        if address % self.page or old_size <= 0 or new_size <= 0 or mapping is None or end > mapping[1]:
            return -1
        if new_size <= old_size:
            return address if new_size == old_size or self.munmap(address + new_size, old_size - new_size) == 0 else -1
        if self.kernel.calls.due():
            return -1
        extra = new_size - old_size
        if end == mapping[1] and self.mappings.room_above(end) >= extra:
            return self._extend(mapping[0], address, end, end + extra, own)
        return self._move(address, old_size, new_size, own) if may_move else -1

    def _extend(self, mapping: int, address: int, end: int, new_end: int, own: int) -> int:
        if not self._map_mapping(end, new_end):
            return -1
        self.mappings.extend(mapping, new_end)
        self.shadow.fill(end, new_end - end, own | WRITTEN)
        return address

    def _move(self, address: int, old_size: int, new_size: int, own: int) -> int:
        target = self._place(new_size, own, self.mappings.splits(address, address + old_size))
        if not target or not self._map_mapping(target + old_size, target + new_size):
            return -1
        if not self._map_lazily(target, target + old_size, R | W | U):
            self._release_mapped(target + old_size, target + new_size)
            return -1
        for offset in range(0, old_size, self.page):
            self._move_page(address + offset, target + offset)
        self.mappings.cut(address, address + old_size)
        self.mappings.add(target, target + new_size, own)
        self.shadow.fill(target + old_size, new_size - old_size, own | WRITTEN)
        return target

    def _move_page(self, source: int, target: int) -> None:
        """Move one page with its frame (or the promise of one) and its shadow."""
        entry = self.table.unmap(source)
        if entry & V:
            self.table.back(target, self.table.frame_of(entry))
        else:
            self.table.change_flags(target, entry & RESERVED, 0)
        codes = self.shadow.pages.get(source // self.page)
        self._forget(source)
        if codes is not None:
            self.shadow.pages[target // self.page] = codes

    def decommit(self, address: int, size: int) -> int:
        """Release the frames of whole pages of heap or mappings; the pages stay mapped and read as zero."""
        end = address + size
        is_wrong = address % self.page or size % self.page or size < 0 or not self._is_heap(address, end)
        if is_wrong or self.kernel.returns.due():
            return -1
        for page in range(address, end, self.page):
            frame = self.table.frame_of(self.table.entry(page))
            if frame:
                self.table.change_flags(page, LAZY | RESERVED, ~FLAGS | V)
                self.frames.leave(frame, self.owner)
                self.frames.reserved += 1
                self.pages.pop(page // self.page, None)
        self.shadow.write(address, self.shadow.read(address, size).translate(ZEROED))
        return 0

    def protect(self, address: int, size: int, is_protected: int) -> int:
        """Close whole pages of heap or mappings to the program, or open them (mprotect(2); uvmclear in kernel/vm.c)."""
        end = address + size
        is_wrong = address % self.page or size % self.page or size < 0 or not self._is_heap(address, end)
        if is_wrong or self.kernel.calls.due():
            return -1
        for page in range(address, end, self.page):
            self.table.change_flags(page, 0 if is_protected else U, U if is_protected else 0)
            self.pages.pop(page // self.page, None)
        return 0

    def _is_heap(self, start: int, end: int) -> bool:
        if start >= self.heap_start and end <= self.round_up(self.brk):
            return True
        return sum(b - a for a, b in self.mappings.inside(start, end)) == end - start

    # --- fork and exit

    def copy_to(self, child: Space) -> bool:
        """Give a child a copy of every page (uvmcopy); return False if there are too few frames."""
        if not all(self._copy_page(child, *page) for page in self._inherited()):
            return False
        child.data, child.guard, child.heap_start, child.brk = self.data, self.guard, self.heap_start, self.brk
        child.shadow, child.segments = self.shadow.copy(), list(self.segments)
        self._copy_mappings(child)
        return True

    def _inherited(self) -> Iterator[tuple[int, int]]:
        """The pages that are copied to a child, as (address, entry): all but the kernel's."""
        return takewhile(lambda page: page[0] < self.trapframe, self.table.pages())

    def _copy_mappings(self, child: Space) -> None:
        child.mappings = self.mappings.copy()

    def _copy_page(self, child: Space, address: int, entry: int) -> bool:
        flags = entry & (R | W | X | U)
        if self.table.frame_of(entry) in self.frames.users:
            return self._share_page(child, address, entry)
        if entry & V:
            if not child._map_new(address, flags):
                return False
            target = self.frames.bytes_of(child.table.frame_of(child.table.entry(address)))
            target[:] = self.frames.bytes_of(self.table.frame_of(entry))
            return True
        if entry & RESERVED and not self.frames.reserve(1):
            return False
        if child.table.map_lazily(address, flags | entry & RESERVED):
            return True
        self.frames.unreserve(1 if entry & RESERVED else 0)
        return False

    def _share_page(self, child: Space, address: int, entry: int) -> bool:
        """Let a child's page lead to the same frame, as those of a shared mapping do (mmap(2), MAP_SHARED)."""
        frame = self.table.frame_of(entry)
        done = child.table.map(address, frame, entry & (R | W | X | U))
        if done:
            self.frames.use(frame, child.owner)
        return done

    def abandon(self) -> None:
        """Free a space whose construction failed."""
        for address, _ in list(self.table.pages()):
            if address < self.trapframe:
                self._release_page(address)
        self.free()

    def free(self) -> None:
        """Unmap everything and free it (proc_freepagetable in xv6 kernel/proc.c)."""
        self.table.unmap(self.trapframe + self.page)
        self._release_page(self.trapframe)
        for start, end in self.mappings:
            self.unmap_mappings(start, end)
        for address in range(0, self.round_up(self.brk), self.page):
            if self.table.entry(address):
                self._release_page(address)
        self.table.free()
        self.brk = 0


def zeroed(code: int) -> int:
    """The code of a byte after the kernel zeroed it; a freed byte becomes the allocator's."""
    if code & ALLOCATOR:
        return code & ~USER | WRITTEN
    return code | WRITTEN if code & USER else code


ZEROED = bytes(zeroed(code) for code in range(256))
