"""The address space of one process: its image, its heap up to the break, its mapped areas.

    0           text            R X U
                data and bss    R W U   the words of the allocator's `Heap`
                guard page      R W     not U: a stack that overflows faults
                stack           R W U
    heap_start  heap            R W U   up to the break, which moves by the byte (sys_sbrk)
                ...
                areas           R W U   from the top down, with a frame when touched
    trapframe   R W             the kernel's
    maxva - 1p  trampoline      R X     the kernel's

As kernel/memlayout.h, kernel/vm.c (uvmalloc, uvmdealloc, uvmcopy) and kernel/proc.c (growproc) of xv6.
Sizes and addresses are in bytes; calls return -1 on failure and then have changed nothing.
"""

from __future__ import annotations

from heapwright.machine.areas import Areas
from heapwright.machine.frames import KernelPanic
from heapwright.machine.kernel import Kernel
from heapwright.machine.page_table import FLAGS, LAZY, RESERVED, PageTable, R, U, V, W, X
from heapwright.machine.shadow import ALLOCATOR, USER, WRITTEN, Shadow

# What a page that may be read and written looks like: words, their owners' codes, and the same as bytes.
Page = tuple[memoryview, memoryview, bytearray, bytearray]


class Space:
    """The memory of the process `owner`."""

    def __init__(self, kernel: Kernel, owner: int):
        self.kernel, self.frames, self.owner = kernel, kernel.frames, owner
        self.page = kernel.page
        self.trapframe = kernel.maxva - 2 * self.page
        self.table = PageTable(self.frames, owner)
        self.shadow = Shadow(self.page)
        self.pages: dict[int, Page] = {}  # the translations in use, by page number: the TLB
        self.areas = Areas(self.trapframe)
        self.data = self.guard = self.heap_start = self.brk = 0
        self.segments: list[tuple[int, int, int]] = []  # (start, end, who asked for it): the heap in order
        self.broken: list[str] = []  # violations of V4 that were seen
        self._map_kernel_pages()

    def round_up(self, size: int) -> int:
        """To whole pages."""
        return -(-size // self.page) * self.page

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

    def sbrk(self, n: int, own: int = ALLOCATOR) -> int:
        """Move the break by `n` bytes and return the old one; the new bytes are for `own`."""
        old, frames = self.brk, self.frames.taken
        if self.kernel.has("S9"):
            n = (n + (1 << 31)) % (1 << 32) - (1 << 31)
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
        if new > self.areas.bottom and not self.kernel.has("S4"):
            return False
        first, last = self.round_up(self.brk), self.round_up(new)
        if not self._map_heap(first, last):
            return False
        self.shadow.fill(self.brk, n, own)
        self._note(self.brk, new, own)
        self.brk = new
        return True

    def _map_heap(self, first: int, last: int) -> bool:
        flags = R | W | U | (X if self.kernel.has("S5") else 0)
        if self.kernel.lazy:
            return self._map_lazily(first, last, flags)
        hopeless = (last - first) // self.page > self.frames.available
        if hopeless and not self.kernel.has("S1") and not self.kernel.has("S4"):
            return False  # as after a roll-back, without the work
        return self._map_range(first, last, flags)

    def _map_range(self, first: int, last: int, flags: int) -> bool:
        """Map pages to new frames full of zeros, all or none of them (uvmalloc)."""
        for address in range(first, last, self.page):
            if not self._map_new(address, flags):
                if not self.kernel.has("S1"):  # there, the roll-back has its arguments swapped
                    self._release(first, address)
                return False
        return True

    def _map_new(self, address: int, flags: int) -> bool:
        if self.table.entry(address) and self.kernel.has("S1"):
            return False  # xv6rs returns an error where xv6 panics with "remap"
        frame = self.frames.take(self.owner)
        if not frame:
            return False
        self.frames.zero(frame)
        if self.table.map(address, frame, flags):
            return True
        self.frames.give(frame)
        return False

    def _map_lazily(self, first: int, last: int, flags: int) -> bool:
        for address in range(first, last, self.page):
            if not self.table.map_lazily(address, flags):
                for mapped in range(first, address, self.page):
                    self.table.unmap(mapped)
                return False
        return True

    def _shrink(self, n: int, own: int) -> bool:
        old, new = self.brk, self.brk + n
        if new < 0:
            return self.kernel.has("S3")  # the sum wraps, looks larger than the size, and is left alone
        if (new < self.heap_start and not self.kernel.has("S7")) or self.kernel.returns.due():
            return False
        first, last = self.round_up(new), self.round_up(old)
        if not self._release(first, last):
            return False
        self.brk = first if self.kernel.has("S2") else new
        if self.brk > old:
            self.shadow.fill(old, self.brk - old, own)
        elif self.brk < first:
            self.shadow.fill(self.brk, first - self.brk, 0)
        self._note(min(old, self.brk), self.brk, own)
        return True

    def _release(self, first: int, last: int) -> bool:
        """Unmap pages and free their frames; pages that are missing are skipped (uvmunmap)."""
        for address in range(first, last, self.page):
            if self.table.entry(address):
                self._release_page(address)
            elif self.kernel.has("S6"):
                return False
        return True

    def _release_page(self, address: int) -> None:
        entry = self.table.unmap(address)
        if entry & V:
            self.frames.give(self.table.frame_of(entry))
        elif entry & RESERVED:
            self.frames.unreserve(1)
        self._forget(address)

    def _forget(self, address: int) -> None:
        number = address // self.page
        self.pages.pop(number, None)
        self.shadow.drop(number)

    def _note(self, start: int, end: int, own: int) -> None:
        """Cut the segments at `start`, then add one to `end`."""
        kept = [(low, min(high, start), who) for low, high, who in self.segments if low < start]
        if kept and kept[-1][1:] == (start, own):
            start = kept.pop()[0]
        self.segments = [*kept, (start, end, own)] if start < end else kept

    def stretch(self, own: int) -> tuple[int, int, int]:
        """Where the heap that `own` asked for begins, its last piece begins, and both end; zeros if there is none."""
        mine = [(start, end) for start, end, who in self.segments if who == own]
        return (mine[0][0], *mine[-1]) if mine else (0, 0, 0)

    def held(self, own: int) -> int:
        """The bytes of heap and areas that `own` asked for."""
        return sum(end - start for start, end, who in self.segments if who == own) + self.areas.size_of(own)

    # --- mapped areas

    def mmap(self, size: int, own: int = ALLOCATOR) -> int:
        """Map zeroed pages at the highest place with room; their frames are promised now and taken when touched."""
        size = self.round_up(size)
        if size <= 0 or self.kernel.calls.due():
            return -1
        start = self.areas.place(size, self.round_up(self.brk))
        if not start or not self._map_area(start, start + size):
            return -1
        self.areas.add(start, start + size, own)
        self.shadow.fill(start, size, own | WRITTEN)
        return start

    def _map_area(self, start: int, end: int) -> bool:
        count = (end - start) // self.page
        if not self.frames.reserve(count):
            return False
        if not self._map_lazily(start, end, R | W | U | RESERVED):
            self.frames.unreserve(count)
            return False
        return True

    def munmap(self, address: int, size: int) -> int:
        """Unmap every page of a range that lies in areas; 0, also where nothing was mapped (munmap(2))."""
        end = address + self.round_up(size)
        is_wrong = address % self.page or size <= 0 or address < self.round_up(self.brk) or end > self.areas.top
        if is_wrong or self.kernel.returns.due():
            return -1
        self._unmap_areas(address, end)
        return 0

    def _unmap_areas(self, first: int, last: int) -> None:
        for start, end in self.areas.inside(first, last):
            for page in range(start, end, self.page):
                self._release_page(page)
            self.areas.cut(start, end)

    def mremap(self, address: int, old_size: int, new_size: int, may_move: int, own: int = ALLOCATOR) -> int:
        """Resize a mapping that lies in one area, in place if there is room, else elsewhere if it may move."""
        old_size, new_size = self.round_up(old_size), self.round_up(new_size)
        end, area = address + old_size, self.areas.find(address)
        if address % self.page or old_size <= 0 or new_size <= 0 or area is None or end > area[1]:
            return -1
        if new_size <= old_size:
            return address if new_size == old_size or self.munmap(address + new_size, old_size - new_size) == 0 else -1
        if self.kernel.calls.due():
            return -1
        extra = new_size - old_size
        if end == area[1] and self.areas.room_above(end) >= extra:
            return self._extend(area[0], address, end, end + extra, own)
        return self._move(address, old_size, new_size, own) if may_move else -1

    def _extend(self, area: int, address: int, end: int, new_end: int, own: int) -> int:
        if not self._map_area(end, new_end):
            return -1
        self.areas.extend(area, new_end)
        self.shadow.fill(end, new_end - end, own | WRITTEN)
        return address

    def _move(self, address: int, old_size: int, new_size: int, own: int) -> int:
        target = self.areas.place(new_size, self.round_up(self.brk))
        if not target or not self._map_area(target + old_size, target + new_size):
            return -1
        if not self._map_lazily(target, target + old_size, R | W | U):
            for page in range(target + old_size, target + new_size, self.page):
                self._release_page(page)
            return -1
        for offset in range(0, old_size, self.page):
            self._move_page(address + offset, target + offset)
        self.areas.cut(address, address + old_size)
        self.areas.add(target, target + new_size, own)
        self.shadow.fill(target + old_size, new_size - old_size, own | WRITTEN)
        return target

    def _move_page(self, source: int, target: int) -> None:
        """Move one page with its frame, or the promise of one, and its owners."""
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
        """Take the frames of whole pages of heap or areas; they stay mapped and read as zero."""
        end = address + size
        is_wrong = address % self.page or size % self.page or size < 0 or not self._is_heap(address, end)
        if is_wrong or self.kernel.returns.due():
            return -1
        for page in range(address, end, self.page):
            frame = self.table.frame_of(self.table.entry(page))
            if frame:
                self.table.change_flags(page, LAZY | RESERVED, ~FLAGS | V)
                self.frames.give(frame)
                self.frames.reserved += 1
                self.pages.pop(page // self.page, None)
        self.shadow.write(address, self.shadow.read(address, size).translate(ZEROED))
        return 0

    def _is_heap(self, start: int, end: int) -> bool:
        if start >= self.heap_start and end <= self.round_up(self.brk):
            return True
        return sum(b - a for a, b in self.areas.inside(start, end)) == end - start

    # --- touching pages

    def reach(self, number: int) -> Page | None:
        """The contents and owners of a page that a program may read and write; None if there is no such page."""
        page = self.pages.get(number)
        if page is not None:
            return page
        address = number * self.page
        if number < 0 or address >= self.trapframe:
            return None
        entry = self._touch(address)
        if entry & (V | R | W | U) != V | R | W | U:
            return None
        data, codes = self.frames.bytes_of(self.table.frame_of(entry)), self.shadow.own_page(number)
        page = self.pages[number] = (memoryview(data).cast("q"), memoryview(codes).cast("Q"), data, codes)
        return page

    def _touch(self, address: int) -> int:
        """The entry of a page, which gets its frame now if it has none yet (vmfault in xv6 kernel/vm.c)."""
        entry = self.table.entry(address)
        if entry & LAZY:
            frame = self.frames.take_reserved(self.owner) if entry & RESERVED else self.frames.take(self.owner)
            if not frame:
                return 0
            self.frames.zero(frame)
            self.table.back(address, frame)
        elif not entry and self.kernel.has("S8") and self.areas.find(address - 1):
            self._map_new(address, R | W | X | U)  # `address <= end` where `<` was meant
            self.shadow.fill(address, self.page, USER | ALLOCATOR | WRITTEN)
        return self.table.entry(address)

    # --- fork and exit

    def copy_to(self, child: Space) -> bool:
        """Give a child a copy of every page (uvmcopy); False when there are too few frames."""
        inherits_areas = not self.kernel.has("S10")
        for address, entry in self.table.pages():
            if address >= self.trapframe or (address >= self.areas.bottom and not inherits_areas):
                break
            if not entry & V and not inherits_areas:
                raise KernelPanic("uvmcopy: page not present")
            if not self._copy_page(child, address, entry):
                return False
        child.data, child.guard, child.heap_start, child.brk = self.data, self.guard, self.heap_start, self.brk
        child.shadow, child.segments = self.shadow.copy(), list(self.segments)
        if inherits_areas:
            child.areas = self.areas.copy()
        else:
            child.shadow.drop_from(self.round_up(self.brk) // self.page)
        return True

    def _copy_page(self, child: Space, address: int, entry: int) -> bool:
        flags = entry & (R | W | X | U)
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

    def abandon(self) -> None:
        """Free everything of a space that could not be made whole."""
        for address, _ in list(self.table.pages()):
            if address < self.trapframe:
                self._release_page(address)
        self.free()

    def free(self) -> None:
        """Unmap everything and free it (proc_freepagetable in xv6 kernel/proc.c)."""
        self.table.unmap(self.trapframe + self.page)
        self._release_page(self.trapframe)
        for start, end in self.areas:
            self._unmap_areas(start, end)
        for address in range(0, self.round_up(self.brk), self.page):
            if self.table.entry(address):
                self._release_page(address)
        self.table.free()
        self.brk = 0


def zeroed(code: int) -> int:
    """What a byte is once the kernel made it zero; one that its user has just handed over is the allocator's now."""
    if code & ALLOCATOR:
        return code & ~USER | WRITTEN
    return code | WRITTEN if code & USER else code


ZEROED = bytes(zeroed(code) for code in range(256))
