"""A heap whose calls may overlap: what a block is while several threads are in the allocator at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from heapwright.machine.blocks import Block
from heapwright.machine.heap import NEW, Heap
from heapwright.machine.kernel import Kernel
from heapwright.machine.shadow import ALLOCATOR, USER
from heapwright.machine.source import line_of_caller
from heapwright.stats import Stats

GIVEN = bytes((code & ~USER) | ALLOCATOR if code & USER else code for code in range(256))


def start_shared(allocator: Any, **options: Any) -> SharedHeap:
    """As `machine.start`, for several threads."""
    mine = {name: options.pop(name) for name in ("junk", "budget") if name in options}
    process = Kernel(**options).start(data=allocator.Heap.SIZE + 16 + Stats.SIZE)
    return SharedHeap(process, allocator, **mine)


class SharedHeap(Heap):
    """A block that is being resized is the allocator's until the call returns.

    The allocator may free it on the way, and another thread may have got its bytes before the call is over. If it
    lets go of them too early, the contents tell.
    """

    at_fork: Callable[[], None] | None = None  # called when the allocator is prepared for one

    def _call(self, name: str, *arguments: int) -> Any:
        result = super()._call(name, *arguments)
        if name == "fork_prepare" and self.at_fork is not None:
            self.at_fork()
        return result

    def realloc(self, address: int, new_size: int) -> int:
        block = self.live.get(address)
        if block is None:
            self._misuse("realloc", address)
        shadow = self.process.space.shadow
        data, codes = self.process.peek(address, block.size), shadow.read(address, block.size)
        shadow.write(address, codes.translate(GIVEN))
        self.blocks.retire(block, line_of_caller())
        target = int(self._call("realloc", address, block.size, block.align, new_size))
        if target == 0:
            self._take_up(block)
            self._still_there(block, data, codes)
            return 0
        self._verify(target, new_size, block.align)
        kept = min(new_size, block.size)
        self._same_data(block, target, data[:kept], "realloc")
        shadow.fill(target, new_size, USER)
        shadow.write(target, codes[:kept])
        if self.junk:
            self.process.poke(target + kept, bytes([NEW]) * (new_size - kept))
        self.blocks.add(target, new_size, block.align, line_of_caller())
        return target

    def _take_up(self, block: Block) -> None:
        """After a realloc that failed: the block is live as before, and must be nobody else's."""
        self._verify(block.address, block.size, block.align)
        del self.blocks.freed[block.address]
        block.is_live, block.freed = True, None
        self.live[block.address] = block
