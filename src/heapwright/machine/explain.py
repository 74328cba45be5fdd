"""What a heap says of a fault in one of its protected pages, in the words of a compiled heap's report.

The compiled form is `heapwright.native.runtime.faults`.
"""

from __future__ import annotations

from typing import Any

from heapwright.guards import bytes_after, bytes_before, has_freer, has_page, is_freed
from heapwright.wording import counted


def explain(functions: Any, heap: Any, address: int, is_reported: bool) -> str:
    """The explanation as the end of a sentence; "" if the allocator has none.

    `is_reported` says that the allocator itself has reported the address, so that only the block's users are missing.
    """
    slot = functions.slot_near(heap, address) if hasattr(functions, "slot_near") else None
    if not slot:
        return ""
    if is_reported:
        return f"; guarded: {users(slot)}" if has_page(slot, address, heap.memory.PAGE) else ""
    block = f"block at {slot.block:#x} ({counted(slot.size, 'bytes')})"
    return f"; guarded: {misuse(slot, address)}: {position(slot, address)} {block}, {users(slot)}"


def users(slot: Any) -> str:
    freed = f", freed by thread {slot.freed.thread}" if has_freer(slot) else ""
    return f"allocated by thread {slot.allocated.thread}{freed}"


def misuse(slot: Any, address: int) -> str:
    if is_freed(slot):
        return "use after free"
    return "underflow" if bytes_before(slot, address) > 0 else "overflow"


def position(slot: Any, address: int) -> str:
    before, after = bytes_before(slot, address), bytes_after(slot, address)
    if before > 0:
        return f"{counted(before, 'bytes')} before the"
    return f"{counted(after, 'bytes')} after the end of the" if after >= 0 else f"{counted(-before, 'bytes')} into the"
