"""The class of a C++ object, found from its first word.

Source: Itanium C++ ABI, "Virtual Table Layout" and "Run-Time Type Information". The word before a table's functions
points to the class's type_info, whose second word points to the mangled name. A program without run-time type
information has none there; then the table's symbol has the name, if the file is not stripped.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import re
from functools import cache

from heapwright.live.elf import TABLE
from heapwright.live.errors import Unreadable
from heapwright.live.memory import Image

MANGLED = re.compile(r"\*?(N?(?:St|S[absiod]|\d)[\w.$]*E?)$")


def class_of_table(image: Image, table: int) -> str:
    """The name of the class that this virtual table belongs to; "" if this is not a virtual table."""
    mapping = image.source.mappings.at(table)
    if table % 8 or mapping is None or not mapping.has_file or mapping.is_writable:
        return ""
    try:
        info = image.word(table - 8)
        if not info and not image.word(table - 16):
            return class_of_symbol(image, table)
        name = image.text_at(image.word(info + 8)) if is_in_file(image, info) else ""
    except Unreadable:
        return ""
    found = MANGLED.match(name)
    return demangled(found[1]) if found else ""


def class_of_symbol(image: Image, table: int) -> str:
    """The class whose table has a symbol; its functions follow two words."""
    for module in image.source.modules():
        if any(table in mapping for mapping in module.mappings):
            name = module.elf.virtual_tables.get(table - 2 * 8 - module.bias, "")
            return demangled(name.removeprefix(TABLE)) if name else ""
    return ""


def is_in_file(image: Image, address: int) -> bool:
    mapping = image.source.mappings.at(address)
    return mapping is not None and mapping.has_file


@cache
def demangled(name: str) -> str:
    """A class's name as in source code; the mangled name if no C++ library is loaded to demangle it."""
    demangle = demangler()
    if demangle is None:
        return name
    status = ctypes.c_int()
    answer = demangle(f"_ZTS{name}".encode(), None, None, ctypes.byref(status))
    if not answer:
        return name
    text = ctypes.string_at(answer).decode("utf-8", "replace")
    free(answer)
    return text.removeprefix("typeinfo name for ")


@cache
def demangler() -> ctypes._NamedFuncPointer | None:
    try:
        function = ctypes.CDLL("libstdc++.so.6").__cxa_demangle
    except (OSError, AttributeError):
        return None
    function.restype = ctypes.c_void_p
    function.argtypes = [ctypes.c_char_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p]
    return function


def free(pointer: int) -> None:
    function = ctypes.CDLL(None).free
    function.argtypes = [ctypes.c_void_p]
    function(pointer)
