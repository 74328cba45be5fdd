"""Functions of the program that its allocator calls: constructors, destructors, and what a walk calls.

A function has an address in the program's text, as the allocator keeps it in a word. While a constructor or destructor
runs, its object is the program's. Then it is the allocator's again, and what the function wrote counts as written.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from heapwright.machine.fault import Fault, Kind
from heapwright.machine.shadow import ALLOCATOR, FREED, USER, WRITTEN

Function = Callable[..., int | None]  # of an object: (the program's memory, address, size); None counts as 0
STEP = 16  # bytes of text from one function to the next
TO_USER = bytes(USER | code & WRITTEN for code in range(256))
TO_ALLOCATOR = bytes(ALLOCATOR | code & WRITTEN for code in range(256))
TO_FREED = bytes(ALLOCATOR | FREED | code & WRITTEN for code in range(256))


def enter_function(process: Any, function: Function) -> int:
    """Give a function an address in the text, always the same one; return it."""
    functions: dict[int, Function] = process.functions
    for address, known in functions.items():
        if known == function:
            return address
    address = STEP * (len(functions) + 1)
    if address >= process.space.data:
        raise MemoryError(f"the process has no room for more than {len(functions)} functions")
    functions[address] = function
    return address


def call_function(process: Any, function: int, address: int, size: int) -> int:
    """Call the function at an address with an object. The running call of the allocator waits meanwhile."""
    called = process.functions.get(function)
    if called is None:
        what = f"the allocator calls {function:#x}, where the program has no function"
        raise Fault(Kind.MISUSE, what, process, address, operation="call", who="allocator")
    thread, memory = process.thread, process.memory
    call, left, thread.call = thread.call, memory.left, None
    change_owner(process, address, size, TO_USER)
    try:
        result: int = called(process.user, address, size) or 0
        return result
    finally:
        change_owner(process, address, size, TO_ALLOCATOR)
        thread.call, memory.left = call, left


def change_owner(process: Any, address: int, size: int, table: bytes) -> None:
    """Give an object to the program or to the allocator, with its contents."""
    shadow = process.space.shadow
    shadow.write(address, shadow.read(address, size).translate(table))
