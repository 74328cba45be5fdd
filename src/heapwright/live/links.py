"""The library that serves malloc: the first in the dynamic linker's order that defines it.

Source: glibc elf/link.h, struct r_debug and struct link_map. A preloaded library comes before all others. A library
that is loaded but comes later, such as jemalloc under a preloaded malloc, is not used.
"""

from __future__ import annotations

from collections.abc import Iterator

from heapwright.live.errors import Unreadable
from heapwright.live.memory import Image
from heapwright.live.source import Module

DEBUG = "_r_debug"
MAP, BIAS, NEXT = 8, 0, 24  # offsets in r_debug and link_map
MAX_LINKS = 10_000


def malloc_module(image: Image) -> Module | None:
    """The module whose malloc the program calls; None if the order cannot be read."""
    modules = {module.bias: module for module in image.source.modules()}
    for bias in order(image):
        module = modules.get(bias)
        if module and module.elf.find("malloc"):
            return module
    return None


def order(image: Image) -> Iterator[int]:
    """The biases of the loaded modules, the program's first."""
    try:
        debug = next(filter(None, (module.address_of(DEBUG) for module in image.source.modules())), 0)
        entry = image.word(debug + MAP) if debug else 0
        for _ in range(MAX_LINKS):
            if not entry:
                return
            yield image.word(entry + BIAS)
            entry = image.word(entry + NEXT)
    except Unreadable:
        return
