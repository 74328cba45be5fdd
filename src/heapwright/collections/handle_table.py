"""HandleTable: blocks that are reached through a table, so that they can move and the heap can be compacted.

     table -> +---------+------+         block -> +-----------+
     handle 0 | address | size |  ------------->  | the bytes |
            1 | 0       | next |  free            +-----------+
              +---------+------+

A program keeps handles, which are indices, and asks the table for a block's address. Only the table stores addresses,
so `compact` may change them: over any allocator, by allocating and freeing alone. Source of the idea: the relocatable
blocks and master pointers of the Macintosh (Inside Macintosh: Memory, chapter 1).

Why move: an allocator that cannot move blocks can be made to hold about M/2 * log2(n) bytes for M live bytes in blocks
of 1 to n, whatever its policy (J. M. Robson, JACM 18(3), 1971; the exact bound for powers of two, JACM 21(3), 1974).
Bendersky and Petrank bounded what limited moving can save (TOPLAS 34(3), 2012).

A pass takes each block, the highest first, and requests another of its size. It keeps the lower of the two, and copies
the contents if necessary. It frees the higher one at the end of the pass: no later block could use it, and an allocator
that reuses the last freed block first would never reach its next hole. If the new block lies outside the memory that
the heap held at first, no hole of that size is left. Passes go on until one moves nothing; they end because each move
lowers an address. Then the heap is trimmed.

Limits
    It moves the table and the blocks in it. Any other block stays, and pins the memory below it. An address is valid
    until the next `compact`; a program that keeps one longer uses freed memory. A block moves only into a hole as large
    as itself, never by half of its own length. The result is not one dense extent, and nobody has proved a bound for
    it. Robson's bound no longer applies, but M is not reached. The allocator chooses the holes, and the memory that it
    returns. Compaction helps if it prefers free memory to new, merges free memory, and returns the end of the heap
    (linked_list, tlsf, dlmalloc; segregated_fits less, with many blocks of one size) or any part that became empty
    (slab, hoard, pages_split, for many blocks of one size).
    It does not help if the heap never shrinks (kr, buddy, segregated_storage), if each block has its own pages (pages),
    or if freed blocks are cached and so pin the end (ptmalloc). There the heap may even hold more afterwards, because
    it grew in the search for a hole. Cost: 16 bytes for each block, and a load for each use. A pass makes an allocation
    and a free for each block, a copy for each block that moves, and sorts the blocks by address. During a pass, the
    blocks that it gave up are live: at worst as many bytes again as the table has, as in a copying collector. Nothing
    else may run meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from heapwright.collections.errors import OutOfMemory, Panic
from heapwright.collections.growing import CAPACITY, LENGTH, POINTER_WORD, Growing
from heapwright.collections.raw import debug, read_bytes, write_bytes
from heapwright.collections.runtime import Holdings, Runtime
from heapwright.collections.structs import Reference, StructType
from heapwright.collections.types import Type, i64, u64

ENTRY = StructType("Entry", address=u64, size=i64)
ALIGN = 16  # of every block, as malloc's
FREE = 3  # the word with the first free entry
TABLE = -1  # in place of a handle
NOWHERE, END = 0, -1  # in place of an address; of the next free entry


class Compaction(NamedTuple):
    """The result of a compaction: its passes, the blocks and bytes it moved, and the bytes that the heap held."""

    passes: int
    blocks_moved: int
    bytes_moved: int
    held_before: int
    held_after: int


class HandleTable(Growing):
    """A table of blocks: `h = table.insert(b"abc")` makes a block of 3@16; `table[h]` are its bytes.

    Its length counts free entries, too. Without memory, `insert` panics and the table is unchanged. A handle without a
    block is a panic.
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
        """Free a block; another block may get its handle later."""
        entry = self._used_entry(handle)
        self.runtime.dealloc(entry.address)
        entry.address, entry.size = NOWHERE, self._load(FREE)
        self._store(FREE, handle)

    def address_of(self, handle: int) -> int:
        """The address of a block, until the next `compact`."""
        return int(self._used_entry(handle).address)

    def __getitem__(self, handle: int) -> bytes:
        entry = self._used_entry(handle)
        return read_bytes(self.runtime.memory, entry.address, entry.size)

    def __setitem__(self, handle: int, data: bytes) -> None:
        """Replace all bytes of a block by the same number of others."""
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
        """Move blocks to lower addresses, and trim the heap. A lack of memory never makes it panic."""
        heap = self.runtime.heap
        before = heap.memory.held()
        extents = heap.extents()
        passes = [self._pass(extents)]
        while passes[-1].moved:
            passes.append(self._pass(extents))
        heap.trim()
        moved = [size for each in passes for size in each.moved]
        return Compaction(len(passes), len(moved), sum(moved), before, heap.memory.held())

    def _pass(self, extents: list[tuple[int, int]]) -> Pass:
        done = Pass(self.runtime, extents, self.type_name)
        for address, handle in sorted(self._places(), reverse=True):
            if handle == TABLE:
                self._store(POINTER_WORD, done.lower(address, self._bytes(self._load(CAPACITY)), ENTRY.align))
            else:
                entry = self._entry(handle)
                entry.address = done.lower(address, entry.size, ALIGN)
        done.end()
        return done

    def _places(self) -> Iterator[tuple[int, int]]:
        """The address and handle of each block, including the table's own."""
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

    def holdings(self) -> Holdings:
        yield from super().holdings()
        for handle in self:
            yield self.address_of(handle), iter(())

    def _release(self) -> None:
        for handle in self:
            self.runtime.dealloc(self._entry(handle).address)
        super()._release()

    @classmethod
    def name_for(cls, element: Type | None) -> str:
        return "HandleTable"

    def _debug(self) -> str:
        return f"{{{', '.join(f'{handle}: {debug(data)}' for handle, data in self.items())}}}"


class Pass:
    """One pass of a compaction, within the memory of some extents. `moved` are the sizes of the moved blocks."""

    def __init__(self, runtime: Runtime, extents: list[tuple[int, int]], owner: str):
        self.runtime, self.extents, self.owner = runtime, extents, owner
        self.moved: list[int] = []
        self.given_up: list[int] = []
        self.without_holes: set[int] = set()  # sizes

    def lower(self, address: int, size: int, align: int) -> int:
        """Move a block if the allocator has room for it below; return its address."""
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
        """A block within the extents; 0 if the allocator has none."""
        try:
            found = self.runtime.alloc(size, align, self.owner)
        except OutOfMemory:
            found = 0
        if any(start <= found < end for start, end in self.extents):
            return found
        self.without_holes.add(size)
        if found:
            self.runtime.dealloc(found)
        return 0

    def end(self) -> None:
        """Free the blocks that were given up, lowest last: a last-in, first-out allocator then reuses it first."""
        for address in sorted(self.given_up, reverse=True):
            self.runtime.dealloc(address)
