"""A heap whose calls may overlap: the state of a block while several threads are in the allocator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from heapwright.machine.blocks import Block
from heapwright.machine.heap import Heap
from heapwright.machine.shadow import ALLOCATOR, USER
from heapwright.machine.source import line_of_caller

GIVEN = bytes((code & ~USER) | ALLOCATOR if code & USER else code for code in range(256))


class SharedHeap(Heap):
    """A heap in which a block that is being resized is the allocator's until the call returns.

    The allocator may free the block during the call, and another thread may get its bytes before the call ends. If the
    allocator frees it too early, its contents are wrong.
    """

    at_fork: Callable[[], None] | None = None  # called when the allocator is ready for a fork

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
        """Do nothing: `_lend` took the block from the user already."""

    def _take_up(self, block: Block) -> None:
        """Make the block live again; nobody else may have it."""
        self._verify(block.address, block.size, block.align)
        del self.blocks.freed[block.address]
        block.is_live, block.freed = True, None
        self.live[block.address] = block
