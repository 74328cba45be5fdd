"""The libraries that a worker's functions come from, according to the dynamic linker."""

from __future__ import annotations

from heapwright.layout import Byte, Struct, Word
from heapwright.native import c
from heapwright.native.jobs.claim import FOREIGN


class Origin(Struct):
    """The origin of an address: Dl_info of dlfcn.h."""

    path: Word
    library: Word
    name: Word
    place: Word


class Letter(Struct):
    code: Byte


def require(claim):
    """End the process unless each claimed function comes from the claimed library. The claim gets what was found."""
    name = claim.functions.address
    while Letter(claim.memory, name).code != 0:
        origin = origin_of(name, c.on_stack(Origin))
        if not is_from(claim, origin):
            copy_text(claim.memory, claim.wrong.address, name)
            copy_text(claim.memory, claim.found.address, origin.path)
            c.exit_now(FOREIGN)
        name += c.strlen(name) + 1


def is_from(claim, origin):
    """Whether an origin is the claimed library. The C library is found by its version function; no malloc has it."""
    if Letter(claim.memory, claim.library.address).code == 0:
        return origin.library == library_of(c.text("gnu_get_libc_version"))
    return c.strcmp(origin.path, claim.library.address) == 0


def copy_text(memory, target, source):
    """Copy a text and its zero byte."""
    memory.copy(target, source, c.strlen(source) + 1)


def library_of(name):
    """The address of the library that a function comes from."""
    return origin_of(name, c.on_stack(Origin)).library


def origin_of(name, origin):
    """Fill in the origin of the function that this process calls by a name."""
    c.dladdr(c.dlsym(0, name), origin.address)
    return origin
