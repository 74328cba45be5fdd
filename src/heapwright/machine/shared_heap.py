"""A heap whose calls may overlap: what a block is while several threads are in the allocator at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from heapwright.machine.blocks import Block
from heapwright.machine.heap import Heap
from heapwright.machine.shadow import ALLOCATOR, USER
from heapwright.machine.source import line_of_caller

GIVEN = bytes((code & ~USER) | ALLOCATOR if code & USER else code for code in range(256))


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

    def _lend(self, block: Block) -> None:
        shadow = self.process.space.shadow
        shadow.write(block.address, shadow.read(block.address, block.size).translate(GIVEN))
        self.blocks.retire(block, line_of_caller())

    def _let_go(self, block: Block, target: int, kept: int) -> None:
        """It was let go of before."""

    def _take_up(self, block: Block) -> None:
        """The block is live as before, and must be nobody else's."""
        self._verify(block.address, block.size, block.align)
        del self.blocks.freed[block.address]
        block.is_live, block.freed = True, None
        self.live[block.address] = block
