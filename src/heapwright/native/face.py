"""Which C functions a library offers: the C face over a stack, and the doors that heapwright itself uses."""

from __future__ import annotations

from pathlib import Path
from types import FunctionType, ModuleType

from heapwright.allocator import Allocator
from heapwright.layout import StructMeta
from heapwright.native import doors
from heapwright.native.c import heap_words, process_memory
from heapwright.native.compiler import Export, Unit
from heapwright.native.portable import portable
from heapwright.native.runtime import kernel, replayer

LIBC = Path(__file__).parent.parent / "libc.py"
RUNTIME = Path(__file__).parent / "runtime"

# functions of libc.py and of report.py, with their numbers of arguments
CALLS = {
    "malloc": 1,
    "calloc": 2,
    "realloc": 2,
    "reallocarray": 3,
    "memalign": 2,
    "aligned_alloc": 2,
    "posix_memalign": 3,
    "valloc": 1,
    "pvalloc": 1,
    "free": 1,
    "free_sized": 2,
    "free_aligned_sized": 3,
}
QUESTIONS = {"malloc_usable_size": 1, "malloc_trim": 1, "mallopt": 2}
REPORTS = {"mallinfo2": 1, "mallinfo": 1, "malloc_info": 2, "malloc_stats": 0}
SILENT = ("free", "free_sized", "free_aligned_sized", "malloc_stats", *doors.SILENT)  # they answer nothing
ALIASES = {
    "cfree": "free",
    "__libc_malloc": "malloc",
    "__libc_calloc": "calloc",
    "__libc_realloc": "realloc",
    "__libc_free": "free",
    "__libc_memalign": "memalign",
    "__libc_valloc": "valloc",
    "__libc_pvalloc": "pvalloc",
}


def unit_of(stack: Allocator) -> Unit:
    """All that the library of a stack offers; the stack can be called by many threads and knows its sizes."""
    report, heap = stack.bind(RUNTIME / "report.py"), stack.module.Heap
    exports = (
        *c_face(stack, CALLS | QUESTIONS),
        *exports_of(report, heap, REPORTS),
        *exports_of(stack.module, heap, doors.STACK, doors.PREFIX),
        *exports_of(report, heap, doors.REPORT, doors.PREFIX),
        *lifecycle(stack),
        *(Export(doors.PREFIX + name, getattr(kernel, name), arity) for name, arity in doors.KERNEL.items()),
    )
    return Unit(exports, ALIASES, heap.SIZE, stack.slow_paths)


def recorder_unit(stack: Allocator) -> Unit:
    """The calls alone, over the C library's own: its other functions still answer for its heap."""
    nothing = Export("heapwright_leave_record", over_heap(stack.module.Heap, stack.module.trim, 0), 0)
    return Unit((*c_face(stack, CALLS), *lifecycle(stack), nothing), {"cfree": "free"}, 0, frozenset())


def replayer_unit() -> Unit:
    """The function that replays a job, which runs when the library is loaded; it interposes nothing."""
    return Unit((Export("heapwright_job", portable(replayer.replay), 0),), {}, 0, frozenset(), is_heap=False)


def c_face(stack: Allocator, names: dict[str, int]) -> list[Export]:
    return exports_of(stack.bind(LIBC), stack.module.Heap, names)


def lifecycle(stack: Allocator) -> list[Export]:
    return exports_of(stack.bind(RUNTIME / "lifecycle.py"), stack.module.Heap, doors.LIFECYCLE, doors.PREFIX)


def exports_of(module: ModuleType, heap: StructMeta, names: dict[str, int], prefix: str = "") -> list[Export]:
    """C functions of a module, each over the library's own heap, with their numbers of arguments."""
    return [
        Export(prefix + name, over_heap(heap, getattr(module, name), arity), arity, name not in SILENT)
        for name, arity in names.items()
    ]


def over_heap(heap: StructMeta, function: FunctionType, arity: int) -> FunctionType:
    """The function with its heap filled in: the words of the library itself."""
    names = ", ".join(f"a{i}" for i in range(arity))
    scope = {"function": function, "Heap": heap, "memory": process_memory, "words": heap_words}
    exec(f"def face({names}):\n    return function(Heap(memory(), words()), {names})", scope)  # noqa: S102  any arity
    return scope["face"]
