"""Which C functions a library offers: the C face over a stack, and the doors that heapwright itself uses."""

from __future__ import annotations

from pathlib import Path
from types import FunctionType, ModuleType

from heapwright.allocator import Allocator
from heapwright.layout import StructMeta
from heapwright.native import replayer, runtime
from heapwright.native.c import heap_words, process_memory
from heapwright.native.compiler import Export, Unit
from heapwright.native.portable import portable

HERE = Path(__file__).parent

# functions of libc.py, of report.py, and of the stack, with their numbers of arguments
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
SILENT = ("free", "free_sized", "free_aligned_sized", "malloc_stats")
MUTE_DOORS = ("dealloc", "fork_prepare", "fork_parent", "fork_child", "thread_exit")
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


DOORS = {"alloc": 2, "alloc_zeroed": 2, "dealloc": 3, "realloc": 4, "usable_size": 1, "trim": 0}
LIFECYCLE = {"fork_prepare": 0, "fork_parent": 0, "fork_child": 0, "thread_exit": 1, "begin": 2, "end": 0}


def unit_of(stack: Allocator) -> Unit:
    """All that the library of a stack offers; the stack can be called by many threads and knows its sizes."""
    report, heap = stack.bind(HERE / "report.py"), stack.module.Heap
    exports = (
        *c_face(stack, CALLS | QUESTIONS),
        *exports_of(report, heap, REPORTS),
        *(door(heap, stack.module, name, n) for name, n in DOORS.items()),
        *(door(heap, report, name, n) for name, n in (("stats", 1), ("leave_record", 0))),
        *lifecycle(stack),
        Export("heapwright_limit", runtime.limit, 1),
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
    return exports_of(stack.bind(HERE.parent / "libc.py"), stack.module.Heap, names)


def exports_of(module: ModuleType, heap: StructMeta, names: dict[str, int]) -> list[Export]:
    """C functions of a module, each over the library's own heap."""
    return [
        Export(name, over_heap(heap, getattr(module, name), arity), arity, name not in SILENT)
        for name, arity in names.items()
    ]


def lifecycle(stack: Allocator) -> list[Export]:
    module, heap = stack.bind(HERE / "lifecycle.py"), stack.module.Heap
    return [door(heap, module, name, arity) for name, arity in LIFECYCLE.items()]


def door(heap: StructMeta, module: ModuleType, name: str, arity: int) -> Export:
    """One of heapwright's own functions: `alloc` is `heapwright_alloc`."""
    return Export(f"heapwright_{name}", over_heap(heap, getattr(module, name), arity), arity, name not in MUTE_DOORS)


def over_heap(heap: StructMeta, function: FunctionType, arity: int) -> FunctionType:
    """The function with its heap filled in: the words of the library itself."""
    names = ", ".join(f"a{i}" for i in range(arity))
    scope = {"function": function, "Heap": heap, "memory": process_memory, "words": heap_words}
    exec(f"def face({names}):\n    return function(Heap(memory(), words()), {names})", scope)  # noqa: S102  any arity
    return scope["face"]
