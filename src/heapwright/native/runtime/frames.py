"""Frames that several pages of the heap lead to: pages of a shared anonymous mapping, moved over those of the heap.

Such a mapping is an unnamed file in memory, so it needs no file descriptor, which a program could close. mremap with an
old size of 0 maps its pages a second time. Its frames stay until they are removed from that file: unmapping the last
page is not enough. Written in the dialect. Sources: mremap(2), madvise(2).
"""

from __future__ import annotations

from heapwright.bits import bit, lowest_bit
from heapwright.layout import Array, Struct, Word, Word32
from heapwright.native import c
from heapwright.native.runtime.kernel import account, errno, is_refused, set_errno
from heapwright.native.runtime.linux import (
    FIXED,
    MOVE_TO,
    PAGE,
    PRIVATE_ANONYMOUS,
    READ_WRITE,
    REMAP,
    REMOVE,
    SHARED_ANONYMOUS,
)

SLOW_PATHS = ("spare_frames", "drop_frames", "save_frame", "take_frame", "alias_frame", "part_frame")
PART = 16  # bytes that one bit stands for


class Frame(Struct):
    """A page's contents, on the stack."""

    words: Array[Word, 512]


class Parts(Struct):
    """A bit for each part of a page."""

    words: Array[Word32, 8]


def spare_frames(count):
    """Map pages whose frames several pages can share. Returns the address of the first, or -1."""
    if is_refused(count * PAGE):
        return -1
    saved = errno()
    start = c.mmap(0, count * PAGE, READ_WRITE, SHARED_ANONYMOUS, -1, 0)
    set_errno(saved)
    if start != -1:
        account(count * PAGE)
    return start


def drop_frames(start, count):
    """Unmap spare pages that nobody took."""
    saved = errno()
    c.munmap(start, count * PAGE)
    set_errno(saved)
    account(-count * PAGE)


def save_frame(spare, page):
    """Copy a page to a spare one."""
    c.process_memory().copy(spare, page, PAGE)


def take_frame(spare, page):
    """Let a page lead to the frame of a spare one, which is unmapped. Returns 0, or -1."""
    saved = errno()
    moved = c.syscall(REMAP, spare, PAGE, PAGE, MOVE_TO, page)
    set_errno(saved)
    if moved != page:
        return -1
    account(-PAGE)
    return 0


def alias_frame(source, target, parts):
    """Let a page lead to another's frame, after its parts are copied there. Returns 0, or -1 and copies nothing."""
    saved, own = errno(), c.unset_on_stack(Frame)
    if parts != 0:
        own.memory.copy(own.address, target, PAGE)
    moved = c.syscall(REMAP, source, 0, PAGE, MOVE_TO, target)
    set_errno(saved)
    if moved != target:
        return -1
    if parts != 0:
        copy_parts(target, own, Parts(own.memory, parts))
    return 0


def copy_parts(target, own, parts):
    """Copy the parts of a page's former contents that belong to it."""
    for i in range(PAGE // PART // 32):
        left = parts.words[i]
        while left != 0:
            k = lowest_bit(left)
            left &= ~bit(k)
            place = (32 * i + k) * PART
            own.memory.copy(target + place, own.address + place, PART)


def part_frame(page, is_last, keeps):
    """Give a page a frame of its own, full of zeros, or with its contents. Returns 0, or -1 and changes nothing."""
    saved, own = errno(), c.unset_on_stack(Frame)
    own.memory.copy(own.address, page, PAGE)
    if is_last:
        c.madvise(page, PAGE, REMOVE)
    mapped = c.mmap(page, PAGE, READ_WRITE, PRIVATE_ANONYMOUS | FIXED, -1, 0)
    set_errno(saved)
    if keeps if mapped == page else is_last:  # a frame that others have is as it was, and they may write to it
        own.memory.copy(page, own.address, PAGE)
    return 0 if mapped == page else -1
