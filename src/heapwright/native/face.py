"""The C functions that a library exports: the C face over a stack, and the exports that heapwright itself uses."""

from __future__ import annotations

from pathlib import Path
from types import FunctionType, ModuleType

from heapwright.allocator import Allocator
from heapwright.layout import StructMeta
from heapwright.native import exports
from heapwright.native.c import heap_words, process_memory
from heapwright.native.compiler import Export, Unit
from heapwright.native.jobs import holder, replay_addresses, replayer
from heapwright.native.portable import portable
from heapwright.native.runtime import kernel, phases, recorder, signals
from heapwright.native.runtime.stacks import modules

LIBC = Path(__file__).parent.parent / "libc.py"
RUNTIME = Path(__file__).parent / "runtime"

# The functions of libc.py, relatives.py and report.py, with their numbers of arguments.
CALLS = {
    "malloc": 1,
    "calloc": 2,
    "realloc": 2,
    "memalign": 2,
    "aligned_alloc": 2,
    "posix_memalign": 3,
    "valloc": 1,
    "free": 1,
}
RELATIVES = {"reallocarray": 3, "pvalloc": 1, "free_sized": 2, "free_aligned_sized": 3, "cfree": 1}
COPIES = {"memcpy": 3, "memmove": 3, "mempcpy": 3, "memset": 3, "strcpy": 2, "stpcpy": 2, "strcat": 2}
USABLE = {"malloc_usable_size": 1}
QUESTIONS = {**USABLE, "malloc_trim": 1, "mallopt": 2}
REPORTS = {"mallinfo2": 1, "mallinfo": 1, "malloc_info": 2, "malloc_stats": 0}
SILENT = ("free", "free_sized", "free_aligned_sized", "cfree", "malloc_stats", *exports.SILENT)  # they return nothing
ALIASES = {
    "__libc_malloc": "malloc",
    "__libc_calloc": "calloc",
    "__libc_realloc": "realloc",
    "__libc_free": "free",
    "__libc_memalign": "memalign",
    "__libc_valloc": "valloc",
}


def unit_of(stack: Allocator) -> Unit:
    """The unit of a stack's library. The stack must be thread-safe and know the sizes of its blocks."""
    report, heap = stack.bind(RUNTIME / "report.py"), stack.module.Heap
    exported = (
        *c_face(stack, CALLS | QUESTIONS),
        Export("__libc_pvalloc", over_heap(heap, stack.bind(LIBC).pvalloc, 1), 1),
        *relatives(stack),
        *exports_of(report, heap, REPORTS),
        *exports_of(stack.module, heap, exports.STACK, exports.PREFIX),
        *exports_of(report, heap, exports.REPORT, exports.PREFIX),
        *lifecycle(stack),
        *own_functions(stack),
        *guarded_copies(stack),
        *fault_handling(stack),
        *(Export(exports.PREFIX + name, getattr(kernel, name), arity) for name, arity in exports.KERNEL.items()),
    )
    return Unit(
        exported,
        ALIASES,
        heap.SIZE,
        stack.slow_paths,
        words_of(stack),
        name=stack.name,
        spec=stack.spec,
        handles_faults=stack.has_protected_pages,
        expects_sizes=stack.expects_sizes,
        has_frames=stack.has_protected_pages,
        guards_copies=stack.expects_room,
    )


def recorder_unit(stack: Allocator) -> Unit:
    """The unit of the recorder: only the calls, over the C library's allocator, whose other functions stay in place."""
    heap = stack.module.Heap
    nothing = Export("heapwright_leave_record", over_heap(heap, stack.module.fork_parent, 0), 0)
    closing = Export("dlclose", over_heap(heap, modules.dlclose, 1), 1)
    asking = Export("prctl", over_heap(heap, recorder.prctl, 5), 5)
    orders = exports_of(phases, heap, {"start": 0, "stop": 0, "open_run": 2}, exports.RECORDING)
    if hasattr(stack.parts[0], "begin_sample"):
        orders += exports_of(stack.parts[0], heap, {"begin_sample": 1}, exports.RECORDING)
    calls = c_face(stack, CALLS | USABLE)  # a malloc that the program is linked with does not know the blocks
    exported = (*calls, *relatives(stack), *lifecycle(stack), nothing, closing, asking, *orders)
    return Unit(exported, {}, heap.SIZE, stack.slow_paths, words_of(stack), has_frames=True)


def counter_unit(stack: Allocator) -> Unit:
    """The unit of the counter: only the calls, counted over the C library's allocator, and the record at exit."""
    heap, report = stack.module.Heap, stack.bind(RUNTIME / "report.py")
    record = exports_of(report, heap, {"leave_record": exports.REPORT["leave_record"]}, exports.PREFIX)
    calls = (*c_face(stack, CALLS | USABLE), *relatives(stack))
    return Unit((*calls, *lifecycle(stack), *record), {}, heap.SIZE, stack.slow_paths, words_of(stack))


def words_of(stack: Allocator) -> int:
    """Thread-local words in the stack's library. There are few: all libraries of a process share a small room."""
    return max(kernel.THREAD_WORDS, stack.thread_words)


def replayer_unit() -> Unit:
    """The unit of the replayer: one function that replays a job when the library is loaded. It interposes nothing."""
    return Unit((Export("heapwright_job", portable(replayer.replay), 0),), {}, 0, frozenset(), is_heap=False)


def address_logger_unit() -> Unit:
    """The unit of the address logger: one function that replays a job in windows when the library is loaded."""
    begin = Export("heapwright_job", portable(replay_addresses.log_addresses), 0)
    return Unit((begin,), {}, 0, frozenset(), is_heap=False)


def holder_unit() -> Unit:
    """The unit of the holder: one function that replays a job up to a moment and holds the process there."""
    return Unit((Export("heapwright_job", portable(holder.hold), 0),), {}, 0, frozenset(), is_heap=False)


def c_face(stack: Allocator, names: dict[str, int]) -> list[Export]:
    return exports_of(stack.bind(LIBC), stack.module.Heap, names)


def fault_handling(stack: Allocator) -> list[Export]:
    """The handler of SIGSEGV, and the C library's functions that change it, for a stack with protected pages."""
    if not stack.has_protected_pages:
        return []
    handler, heap = stack.bind(RUNTIME / "faults.py"), stack.module.Heap
    interposed = exports_of(signals, heap, {"sigaction": 3, "signal": 2})
    return [*exports_of(handler, heap, exports.FAULTS, exports.PREFIX), *interposed]


def guarded_copies(stack: Allocator) -> list[Export]:
    """The C library's functions that write a number of bytes, for a stack that knows how much room there is."""
    return exports_of(stack.bind(RUNTIME / "copies.py"), stack.module.Heap, COPIES) if stack.expects_room else []


def own_functions(stack: Allocator) -> list[Export]:
    """The C functions that only this allocator has."""
    own = stack.interface
    return exports_of(own, stack.module.Heap, dict(own.EXPORTS)) if own else []


def relatives(stack: Allocator) -> list[Export]:
    return exports_of(stack.bind(RUNTIME / "relatives.py"), stack.module.Heap, RELATIVES)


def lifecycle(stack: Allocator) -> list[Export]:
    return exports_of(stack.bind(RUNTIME / "lifecycle.py"), stack.module.Heap, exports.LIFECYCLE, exports.PREFIX)


def exports_of(module: ModuleType, heap: StructMeta, names: dict[str, int], prefix: str = "") -> list[Export]:
    """The exports for the named functions of a module, each over the library's own heap."""
    return [
        Export(prefix + name, over_heap(heap, getattr(module, name), arity), arity, name not in SILENT)
        for name, arity in names.items()
    ]


def over_heap(heap: StructMeta, function: FunctionType, arity: int) -> FunctionType:
    """The function with its heap bound to the library's own words."""
    names = ", ".join(f"a{i}" for i in range(arity))
    scope = {"function": function, "Heap": heap, "memory": process_memory, "words": heap_words}
    exec(f"def face({names}):\n    return function(Heap(memory(), words()), {names})", scope)  # noqa: S102  any arity
    return scope["face"]
