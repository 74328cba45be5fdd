"""Allocators that are recognised by the names that a program or a library defines, and some by their shape."""

from __future__ import annotations

from collections.abc import Iterator

from heapwright.live.advice import mib
from heapwright.live.elf import PT_INTERP
from heapwright.live.findings import Look
from heapwright.live.mallocng import NAME as MUSL
from heapwright.live.mallocng import has_context
from heapwright.live.memory import Image
from heapwright.live.source import Module

GO, JVM, V8 = "Go's runtime", "the JVM", "V8"
MARKS = {
    "jemalloc": ("mallctl", "je_mallctl", "_rjem_mallctl", "malloc_stats_print", "je_malloc_stats_print"),
    "mimalloc": ("mi_malloc", "mi_version"),
    "tcmalloc": ("MallocExtension_ReleaseFreeMemory", "MallocExtension_Internal_GetStats", "tc_malloc", "tc_version"),
    GO: ("runtime.mheap_", "runtime.mallocgc"),
    JVM: ("gHotSpotVMStructs",),
    V8: ("_ZN2v87Isolate3NewERKNS0_12CreateParamsE",),
}
FILES = {"jemalloc": "libjemalloc", "mimalloc": "libmimalloc", "tcmalloc": "libtcmalloc", MUSL: "ld-musl"}
GO_MARK = b"\xff Go buildinf:"  # in a program that may be stripped
MALLOCS = ("jemalloc", "mimalloc", "tcmalloc", MUSL)
STATISTICS = {
    "jemalloc": "call malloc_stats_print within the program",
    "mimalloc": "set MIMALLOC_SHOW_STATS=1 and see what it prints at exit",
    "tcmalloc": "call MallocExtension_GetStats within the program",
    MUSL: "it keeps no statistics; link with another malloc to see more",
    GO: "call runtime.ReadMemStats within the program",
    JVM: "run jcmd PID GC.heap_info",
    V8: "call process.memoryUsage() within the program",
}


def recognise(image: Image) -> list[tuple[str, Module]]:
    """The allocators beside glibc's in a process and the module of each, those that serve malloc first."""
    modules = [
        module for module in image.source.modules() if "python" not in module.path.rpartition("/")[2]
    ]  # it has one inside
    found = {name: module for module in modules[:1] for name in by_shape(image, module)}
    found |= {name: module for test in (by_symbols, by_file) for module in modules for name in test(module)}
    return sorted(found.items(), key=lambda pair: (pair[0] not in MALLOCS, pair[0]))


def malloc_of(image: Image, server: Module | None) -> str:
    """The recognised allocator that serves malloc, which is in `server` if that is known; "" if none does."""
    modules = [server] if server else image.source.modules()
    found = [name for module in modules for name in (*by_file(module), *by_symbols(module))]
    found += [name for module in modules[:1] for name in by_shape(image, module)]
    return next((name for name in found if name in MALLOCS), "")


def by_file(module: Module) -> list[str]:
    name = module.path.rpartition("/")[2]
    is_musl = name == "libc.so" and module.elf.data.find(b"musl libc") >= 0  # the loader is a link to it
    return [allocator for allocator, start in FILES.items() if name.startswith(start)] + [MUSL] * is_musl


def by_shape(image: Image, module: Module) -> list[str]:
    """What is linked into a program, which may be stripped."""
    is_static = not any(segment.kind == PT_INTERP for segment in module.elf.segments)
    is_musl = is_static and has_context(image, module)
    return [MUSL] * is_musl + [GO] * (module.elf.data.find(GO_MARK) >= 0)


def by_symbols(module: Module) -> list[str]:
    return [allocator for allocator, names in MARKS.items() if any(map(module.elf.find, names))]


def notes_on(look: Look) -> Iterator[str]:
    """A sentence for each allocator whose figures are not known: what it has, and where to ask."""
    known = {each.name for each in look.statistics if each.live_bytes is not None}
    figures = look.account.parts["foreign_heap"]
    size = figures.resident if look.source.knows_residency else figures.virtual
    for name in look.recognised:
        has = f"has {mib(size)}, which is" if name == look.foreign else "is recognised but"
        if name not in known:
            yield f"{name} {has} not read: {STATISTICS[name]}"
