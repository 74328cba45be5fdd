"""HandleTable: blocks that are reached through a table, so that they may move, and a heap that can be compacted.

     table -> +---------+------+         block -> +-----------+
     handle 0 | address | size |  ------------->  | the bytes |
            1 | 0       | next |  free            +-----------+
              +---------+------+

A program keeps handles, which are indices, and asks the table where a block lies. Only the table knows an address, so
`compact` may change it: over any allocator, by nothing but allocating and freeing. Source of the idea: the relocatable
blocks and master pointers of the Macintosh (Inside Macintosh: Memory, chapter 1).

Why move: an allocator that cannot may be made to hold about M/2 * log2(n) bytes for M live ones in blocks of 1 to n,
whatever its policy (J. M. Robson, JACM 18(3), 1971; the exact bound for powers of two, JACM 21(3), 1974). What
some moving can save of that, Bendersky and Petrank bounded (TOPLAS 34(3), 2012).

A pass asks for each block, the highest first, for another as large. Of the two the lower one is kept, the contents
copied if need be. The higher one is freed when the pass is over: no later block could use it, and an allocator that
hands out first what was freed last would never come to its next hole. If the other is not of what the heap held at
first, no hole of that size is left. There are passes until one moves nothing; each move lowers an address, so that they
end. Then the heap is trimmed.

Limits
    It moves what is in the table, and the table. Any other block stays, and pins what lies below it.
    An address is good until the next `compact`; who keeps one longer uses freed memory.
    A block moves only into a hole as large as itself, never by half of its own length: the result is not one dense
    stretch, and nobody has proved a bound for it. Robson's no longer applies, and M is not reached.
    The allocator chooses the holes, and what it gives back. It helps where it prefers free memory to new, merges what
    is free, and returns the end of the heap (linked_list, tlsf, dlmalloc) or whatever of it became empty (slab, hoard,
    pages_split, for many blocks of one size). It does not where the heap never shrinks (kr, buddy,
    segregated_storage), where each block has pages of its own (pages), or where freed blocks are cached and so pin
    the end (ptmalloc): there the heap may hold more afterwards, by what it grew to say that no hole is left.
    Cost: 16 bytes for each block, and a load for each use. A pass makes an allocation and a free for each block, and a
    copy for each that moves, and sorts the blocks by address. While it runs, what it gave up is live: at worst as
    many bytes again as there are in the table, as in a copying collector. Nobody else may run meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from heapwright.collections.errors import OutOfMemory, Panic
from heapwright.collections.growing import CAPACITY, LENGTH, POINTER_WORD, Growing
from heapwright.collections.runtime import Runtime
from heapwright.collections.types import Reference, Struct, debug, i64, read_bytes, u64, write_bytes

ENTRY = Struct("Entry", address=u64, size=i64)
ALIGN = 16  # of every block, as malloc's
FREE = 3  # the word with the first free entry
TABLE = -1  # in place of a handle
NOWHERE, END = 0, -1  # in place of an address; of the next free entry


class Compaction(NamedTuple):
    """What a compaction did: how often it went through the table, what it moved, and what the heap held, in bytes."""

    passes: int
    blocks_moved: int
    bytes_moved: int
    held_before: int
    held_after: int


class HandleTable(Growing):
    """`h = table.insert(b"abc")` is a block of 3@16; `table[h]` are its bytes. Its length counts free entries, too.

    Without memory, `insert` panics, and the table is as it was. A handle that has no block is a panic.
    """

    WORDS = 4
    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(ENTRY, END)

    def insert(self, data: bytes) -> int:
        """Copy bytes into a new block; return its handle."""
        if self._load(FREE) == END:
            self._add_entry()
        address = self.runtime.alloc(len(data), ALIGN, self.type_name)
        write_bytes(self.runtime.memory, address, data)
        handle = self._load(FREE)
        entry = self._entry(handle)
        self._store(FREE, entry.size)
        entry.address, entry.size = address, len(data)
        return handle

    def remove(self, handle: int) -> None:
        """Free a block; its handle may be another's later."""
        entry = self._used_entry(handle)
        self.runtime.dealloc(entry.address)
        entry.address, entry.size = NOWHERE, self._load(FREE)
        self._store(FREE, handle)

    def address_of(self, handle: int) -> int:
        """Where a block lies, until the next `compact`."""
        return int(self._used_entry(handle).address)

    def __getitem__(self, handle: int) -> bytes:
        entry = self._used_entry(handle)
        return read_bytes(self.runtime.memory, entry.address, entry.size)

    def __setitem__(self, handle: int, data: bytes) -> None:
        """Replace all bytes of a block by as many others."""
        entry = self._used_entry(handle)
        if len(data) != entry.size:
            raise TypeError(f"{len(data)} bytes are not a block of {entry.size}")
        write_bytes(self.runtime.memory, entry.address, data)

    def __iter__(self) -> Iterator[int]:
        """The handles that have a block."""
        return (handle for handle in range(len(self)) if self._entry(handle).address != NOWHERE)

    def items(self) -> Iterator[tuple[int, bytes]]:
        """The handles and the bytes of their blocks."""
        return ((handle, self[handle]) for handle in self)

    def compact(self) -> Compaction:
        """Move what can be moved to lower addresses, and trim the heap. Never panics for want of memory."""
        heap = self.runtime.heap
        before = heap.memory.held()
        stretches = heap.stretches()
        passes = [self._pass(stretches)]
        while passes[-1].moved:
            passes.append(self._pass(stretches))
        heap.trim()
        moved = [size for each in passes for size in each.moved]
        return Compaction(len(passes), len(moved), sum(moved), before, heap.memory.held())

    def _pass(self, stretches: list[tuple[int, int]]) -> Pass:
        done = Pass(self.runtime, stretches, self.type_name)
        for address, handle in sorted(self._places(), reverse=True):
            if handle == TABLE:
                self._store(POINTER_WORD, done.lower(address, self._bytes(self._load(CAPACITY)), ENTRY.align))
            else:
                entry = self._entry(handle)
                entry.address = done.lower(address, entry.size, ALIGN)
        done.end()
        return done

    def _places(self) -> Iterator[tuple[int, int]]:
        """Where each block lies, and its handle; the table's own, too."""
        if self._load(CAPACITY):
            yield self.address, TABLE
        for handle in self:
            yield self.address_of(handle), handle

    # --- entries

    def _add_entry(self) -> None:
        self.reserve(1)
        index = len(self)
        ENTRY.write(self.runtime, self._place(index), ENTRY(address=NOWHERE, size=END))
        self._store(LENGTH, index + 1)
        self._store(FREE, index)

    def _entry(self, handle: int) -> Reference:
        return ENTRY.read(self.runtime, self._place(handle), self)

    def _used_entry(self, handle: int) -> Reference:
        if not 0 <= handle < len(self) or self._entry(handle).address == NOWHERE:
            raise Panic(f"no block has the handle {handle}")
        return self._entry(handle)

    def _release(self) -> None:
        for handle in self:
            self.runtime.dealloc(self._entry(handle).address)
        super()._release()

    @property
    def type_name(self) -> str:
        return "HandleTable"

    def _debug(self) -> str:
        return f"{{{', '.join(f'{handle}: {debug(data)}' for handle, data in self.items())}}}"


class Pass:
    """One pass of a compaction, within the memory of some stretches. `moved` are the sizes of what was moved."""

    def __init__(self, runtime: Runtime, stretches: list[tuple[int, int]], owner: str):
        self.runtime, self.stretches, self.owner = runtime, stretches, owner
        self.moved: list[int] = []
        self.given_up: list[int] = []
        self.without_holes: set[int] = set()  # sizes

    def lower(self, address: int, size: int, align: int) -> int:
        """Where a block lies now: moved, if the allocator had room for it below."""
        hole = 0 if size in self.without_holes else self.find_hole(size, align)
        if hole == 0:
            return address
        self.given_up.append(max(address, hole))
        if hole > address:
            return address
        self.runtime.memory.copy(hole, address, size)
        self.moved.append(size)
        return hole

    def find_hole(self, size: int, align: int) -> int:
        """A block within the stretches; 0 if the allocator has none."""
        try:
            found = self.runtime.alloc(size, align, self.owner)
        except OutOfMemory:
            found = 0
        if any(start <= found < end for start, end in self.stretches):
            return found
        self.without_holes.add(size)
        if found:
            self.runtime.dealloc(found)
        return 0

    def end(self) -> None:
        """Free what was given up, the lowest last: for an allocator that goes by time, that is the first again."""
        for address in sorted(self.given_up, reverse=True):
            self.runtime.dealloc(address)
