"""Code inside malloc calls no C function that may allocate, wait for a lock of the C library, or be cancelled.

A thread in malloc may hold the heap's locks, and other threads wait for them while they hold stdio's or the dynamic
linker's. So the call graph of each library is walked from each of its exports, and whatever it imports must be in a
list here, with the reason why it may be. Source: glibc 2.36 to 2.42.
"""

from __future__ import annotations

import shutil

import pytest
from call_graph import ANYTHING, call_graph, output_of

from heapwright.allocators import ALLOCATORS
from heapwright.native.library import library_of

pytestmark = pytest.mark.skipif(shutil.which("objdump") is None, reason="objdump (binutils) is not installed")

INSIDE_MALLOC = {
    "__errno_location": "the address of a word that each thread has from its start",
    "__libc_single_threaded": "data",
    "__sigaction": "a system call; in a meshed heap, for a signal that is not SIGABRT, whose lock it would take",
    "abort": "it raises the signal first; its lock is its own, and it leaves stdio alone since 2.27",
    "clock_gettime": "it reads the kernel's page of times, or is a system call",
    "getpid": "a system call",
    "madvise": "a system call",
    "memcpy": "bytes, as memmove",
    "memmove": "bytes; which of its forms serves is decided when the library is loaded",
    "memset": "bytes; the same",
    "mmap": "a system call",
    "mremap": "a system call",
    "munmap": "a system call",
    "pthread_getcpuclockid": "it reads a number in the thread's own record",
    "pthread_self": "the address of that record",
    "pthread_setspecific": "for keys above 31 it calls calloc: test_a_key_whose_place_threads_allocate",
    "sbrk": "a system call, and a word of the C library",
    "secure_getenv": "it reads the environment and takes no lock: the settings, once, when the heap opens",
    "syscall": "a system call that is no cancellation point, as futex, getrandom and write must be here",
}
RELATIVES = {
    "reallocarray": {"realloc", "__errno_location"},
    "pvalloc": {"valloc", "__errno_location"},
    "free_sized": {"free"},
    "free_aligned_sized": {"free"},
    "cfree": {"free"},
}  # they call the process's own malloc, and hold no lock
OPERATORS = {"malloc", "memalign", "free", "abort", "dlsym", ANYTHING}  # a handler is looked up once malloc has failed
EXEMPT = {
    "malloc_info": "it prints to a FILE, once the numbers are in and the locks free",
    "heapwright_fork_prepare": "fork takes the lock of stdio's list: docs/decisions/0004-fork-and-stdio.md",
    "heapwright_fork_parent": "it gives that lock back",
    "heapwright_fork_child": "it makes that lock anew",
    "heapwright_leave_record": "it runs when the process ends",
    "dlopen": "the C library's own, with one flag changed",
    "malloc_inspect_all": "it calls a function of the program's, which must not call the heap",
    "mspace_inspect_all": "the same",
    "tlsf_walk_pool": "the same, and it holds no lock",
}


CALLS_BACK = {"slab": {ANYTHING}}  # constructors and destructors of the program's, while the thread holds no lock


@pytest.fixture(params=(*ALLOCATORS, "wright[MESHED=1]"), scope="module")
def graph(request):
    return call_graph(library_of(request.param))


@pytest.fixture
def called_back(request):
    """What the allocator of `graph` calls by an address that the program gave it."""
    return CALLS_BACK.get(request.node.callspec.params["graph"], set())


def allowed(export):
    if export.startswith("_Z"):
        return OPERATORS
    return RELATIVES.get(export, set(INSIDE_MALLOC))


def test_each_export_calls_only_what_it_may(graph, called_back):
    assert {"malloc", "free", "realloc", "calloc", "memalign", "malloc_trim", "malloc_stats"} <= graph.exports
    wrong = {each: graph.imports(each) - allowed(each) - called_back for each in graph.exports - set(EXEMPT)}
    assert not {each: names for each, names in wrong.items() if names}


def test_a_report_calls_only_what_it_may(graph):
    reports = [name for name in graph.uses if "6misuse6report" in name]
    if reports:  # of an allocator that reports anything
        assert {"syscall", "abort"} <= graph.imports(*reports) <= set(INSIDE_MALLOC)


def test_the_walk_finds_what_is_exempt(graph):
    """As it would find a call that is not allowed."""
    assert "fprintf" in graph.imports("malloc_info")
    assert "_IO_list_lock" in graph.imports("heapwright_fork_prepare")
    assert "getenv" in graph.imports("heapwright_leave_record")
    assert ANYTHING in graph.imports("_Znwm")


@pytest.mark.parametrize("spec", ALLOCATORS)
def test_nothing_is_looked_up_later(spec):
    """The dynamic linker would do so under a lock of its own, and allocate."""
    assert "BIND_NOW" in output_of("readelf", "-dW", library_of(spec))


@pytest.mark.long
@pytest.mark.parametrize("spec", ALLOCATORS)
def test_a_key_whose_place_threads_allocate(spec, preloaded, compiled):
    """A thread's first call then allocates inside the allocation; no lock is held, and the thread's words are set."""
    keys = compiled("keys", "-shared", "-fPIC")
    assert preloaded(spec, "threads", preload=[keys]).returncode == 42
