"""Places in code as text: the module's file and the offset in it, for addr2line and its like.

`_dl_find_object` may be called in a signal handler.
"""

from __future__ import annotations

from heapwright.layout import NULL
from heapwright.native import c
from heapwright.native.runtime.lines import put_address, put_text
from heapwright.native.runtime.linux import HERE, READ_LINK_AT
from heapwright.native.runtime.stacks.encoded import byte_at
from heapwright.native.runtime.stacks.modules import Found, Link, Path


def put_place(line, address):
    """Append the place of a code address, or the address alone if no module has it."""
    found = c.on_stack(Found)
    find = c.address_if_any("_dl_find_object")
    if find == NULL or c.call_with_two(find, address, found.address) != 0:
        put_address(line, address)
        return
    link = Link(line.memory, found.link)
    if link.name != NULL and byte_at(line.memory, link.name) != 0:
        put_text(line, link.name)
    else:
        put_program(line)
    put_text(line, c.text("+"))
    put_address(line, address - link.bias)


def put_program(line):
    """Append the path of the program itself, which has no name for the dynamic linker."""
    path = c.on_stack(Path)
    length = c.syscall(READ_LINK_AT, HERE, c.text("/proc/self/exe"), path.address, Path.SIZE - 1, 0)
    put_text(line, path.address if length > 0 else c.text("program"))
