"""What the recorder calls: it runs inside malloc, in programs that may do hardly anything any more."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from heapwright.native.library import recorder_library, sampler_library

BEFORE_OR_BESIDE = {  # when the library is loaded, at a fork, in dlopen: not inside malloc
    *("__register_atfork", "pthread_key_create", "dlsym"),
    *("_IO_list_lock", "_IO_list_unlock", "_IO_list_resetlock"),
}
THE_MALLOC = {f"__libc_{name}" for name in ("malloc", "calloc", "realloc", "memalign", "free")}
DATA = {"__libc_single_threaded", "__errno_location"}
OTHERS = {"abort", "munmap"}  # of the runtime, for heaps
# Before the file is mapped: getenv reads memory, the rest are system calls that the dynamic loader made, too; `syscall`
# stands for openat, read and close, which are cancellation points under their own names, and for futex.
MAPPING = {"getenv", "getrlimit", "mmap", "syscall"}
# Afterwards: these two read memory, mremap serves those who record more than the first window holds, and
# pthread_setspecific a thread's first record.
RECORDING = {"pthread_self", "pthread_getcpuclockid", "mremap", "pthread_setspecific"}
# For call stacks: these read memory that is there from the start, or, as `_dl_find_object` is made for unwinders and
# pthread_getspecific for any time, take no lock; the last two are data of another program, and may be missing.
STACKS = {"__libc_stack_end", "getauxval", "pthread_getspecific", "memset", "memmove", "_dl_find_object"}
PYTHON = {"_PyRuntime", "Py_Version"}
SAMPLE = {"secure_getenv"}  # at the first request; it reads memory


@pytest.mark.skipif(shutil.which("nm") is None, reason="nm (binutils) is not installed")
@pytest.mark.parametrize(("library", "more"), [(recorder_library, set()), (sampler_library, SAMPLE)])
def test_the_recorder_calls_nothing_that_allocates_locks_or_is_cancelled(library, more):
    command = ["nm", "-D", "--undefined-only", str(library())]
    found = set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()) - {"U", "w"}
    names = {name.partition("@")[0] for name in found}
    assert names <= BEFORE_OR_BESIDE | THE_MALLOC | DATA | OTHERS | MAPPING | RECORDING | STACKS | PYTHON | more
    assert names >= more | MAPPING | RECORDING | STACKS | PYTHON
