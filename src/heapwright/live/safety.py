"""Whether a stopped thread may call dlopen: it holds no lock of malloc or of the dynamic linker.

A thread inside them shows that by its code address, or by the lock that it waits for in the kernel. A handler of a
signal may have interrupted them; its stack then has the return address that leads back to what was interrupted.
"""

from __future__ import annotations

import numpy as np

from heapwright.live.errors import InspectError, Unreadable
from heapwright.live.links import malloc_module
from heapwright.live.memory import Image
from heapwright.live.process import Process
from heapwright.live.source import Module

SYSTEM_CALL, PROGRAM, STACK, FIRST = 15, 16, 19, 14  # places of registers: orig_rax, rip, rsp, rdi
NONE = (1 << 64) - 1
FUTEX = 202
# read, poll, select, pause, nanosleep, accept, recvfrom, recvmsg, wait4, semop, msgrcv, rt_sigtimedwait, rt_sigsuspend,
# epoll_wait, clock_nanosleep, waitid, pselect6, ppoll, epoll_pwait, accept4, recvmmsg, preadv, epoll_pwait2
WAITING = {0, 7, 23, 34, 35, 43, 45, 47, 61, 65, 70, 128, 130, 232, 230, 247, 270, 271, 281, 288, 299, 295, 441}
HANDLER_RETURN = bytes.fromhex("48c7c00f000000 0f05")  # mov $15, %rax; syscall: glibc's __restore_rt
DEEP = 1 << 18  # bytes of a stack to search for handlers
ARENA, ARENA_HEAD = 1 << 26, 1 << 12  # other arenas than the main one begin at multiples of 64 MiB


class Places:
    """Where a process has the C library, the dynamic linker and its malloc."""

    def __init__(self, process: Process):
        modules = process.modules()
        self.libc = module_with(modules, "gnu_get_libc_version", process)
        self.linker = module_with(modules, "_r_debug", process)
        self.malloc = malloc_module(Image(process)) or self.libc
        self.handler_return = address_of_bytes(self.libc, HANDLER_RETURN)
        if not self.handler_return:
            raise InspectError(f"process {process.pid} ({process.name}) has a glibc that heapwright does not know")


def module_with(modules: list[Module], symbol: str, process: Process) -> Module:
    for module in modules:
        if module.elf.find(symbol):
            return module
    raise InspectError(f"process {process.pid} ({process.name}) has no glibc in memory, so it cannot load a library")


def address_of_bytes(module: Module, code: bytes) -> int:
    """Where a module has these bytes in its first code segment; 0 if nowhere."""
    for segment in module.elf.segments:
        data = bytes(module.elf.data[segment.offset : segment.offset + segment.file_size])
        place = data.find(code) if segment.flags & 1 else -1
        if place >= 0:
            return module.bias + segment.address + place
    return 0


def is_safe(process: Process, places: Places, registers: tuple[int, ...]) -> bool:
    """Whether the thread with these registers holds no lock of malloc or the linker."""
    at = registers[PROGRAM]
    if is_in(places.linker, at) or is_in_handler(process, places, registers[STACK]):
        return False
    if registers[SYSTEM_CALL] != NONE:
        return waits_for_something_else(places, registers)
    mapping = process.mappings.at(at)
    is_code = mapping is not None and mapping.is_executable and mapping.path != "[vdso]"
    return is_code and not is_in(places.libc, at) and not is_in(places.malloc, at)


def waits_for_something_else(places: Places, registers: tuple[int, ...]) -> bool:
    """Whether a thread in a system call waits, and not for a lock of malloc or the linker."""
    number, first = registers[SYSTEM_CALL], registers[FIRST]
    if number != FUTEX:
        return number in WAITING
    return not (is_in(places.libc, first) or is_in(places.linker, first) or is_in(places.malloc, first)) and (
        first % ARENA >= ARENA_HEAD
    )


def is_in(module: Module, address: int) -> bool:
    """Whether an address is a module's, with its data."""
    return any(each.start <= address < each.end for each in module.mappings) or module.bss[0] <= address < module.bss[1]


def is_in_handler(process: Process, places: Places, stack: int) -> bool:
    """Whether the thread runs a signal handler: the way back from one is on its stack."""
    mapping = process.mappings.at(stack)
    if mapping is None:
        return True
    size = min(mapping.end - stack, DEEP) & -8
    try:
        words = np.frombuffer(process.read(stack & -8, size), np.uint64)
    except Unreadable:
        return True
    return bool((words == np.uint64(places.handler_return)).any())
