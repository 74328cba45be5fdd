"""The registers of a thread, as the kernel hands them out, and what the C library keeps by them.

Source: Linux, struct user_regs_struct; core(5), NT_PRSTATUS. A thread's own data lie at fixed distances from its base.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

from heapwright.live.errors import Unreadable
from heapwright.live.memory import Image
from heapwright.live.source import Module, Registers, Source

FORM = struct.Struct("<27Q")
IN_STATUS = 112  # of NT_PRSTATUS
STACK, BASE = 19, 21  # rsp, fs_base
ERRNO_CODE = re.compile(
    rb"\x48\x8b\x05(.{4})\x64\x48\x03\x04\x25\0{4}", re.DOTALL
)  # mov slot(%rip), %rax; add %fs:0, %rax
RED_ZONE = 128  # bytes below its stack's end that a thread may use


def registers_in(data: bytes, offset: int = 0) -> Registers:
    """The registers of a thread; none where the bytes are too few."""
    return FORM.unpack_from(data, offset) if len(data) >= offset + FORM.size else ()


def own_words(image: Image, module: Module, count: int) -> list[int]:
    """The first words that a library keeps for the first thread; zeros where they cannot be found."""
    registers = image.source.registers.get(image.source.pid or 0, ())
    if registers:
        for slot in module.elf.thread_slots():
            try:
                place = registers[BASE] + image.load(module.bias + slot.address, 8) - slot.addend
                return [image.word(place + 8 * index) for index in range(count)]
            except Unreadable:
                continue
    return [0] * count


def errno_place(source: Source, function: int, registers: Registers) -> int:
    """Where a thread's errno lies, by the code of `__errno_location`; 0 if that is unusual."""
    found = ERRNO_CODE.search(source.read(function, 24))
    if not found:
        return 0
    slot = function + found.end(1) + int.from_bytes(found[1], "little", signed=True)
    return registers[BASE] + int.from_bytes(source.read(slot, 8), "little", signed=True)


def words_of(registers: dict[int, Registers]) -> Iterator[int]:
    """What all threads have in their registers."""
    return (word for each in registers.values() for word in each)
