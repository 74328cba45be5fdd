"""Who asked: for each event a call stack, and for each call stack the function to name.

A trace without call stacks gets stand-ins: a block's stack is then its thread and its size class.

The function to name is not that which called malloc, which is often a container or an interpreter. It is the innermost
Python function, and without one the innermost function that is not part of a language's library.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property

from heapwright.traces.arrays import I64, U32, U64, np
from heapwright.traces.events import Events
from heapwright.traces.stacks import PYTHON, UNKNOWN, Frame, Stacks

NOBODY = Frame("an unknown caller")
LONGEST_NAME = 160  # letters, on a page
CLASSES = 65  # powers of two, up to 2^64
LIBRARIES = ("std", "core", "alloc", "hashbrown", "__gnu_cxx", "__rustc", "__cxxabiv1")  # Rust's and C++'s namespaces
WRAPPERS = re.compile(  # functions of C that only pass a request on
    r"operator (new|delete)(\[\])?|_*(rust|rdl|rg)_(alloc|realloc|dealloc)\w*"
    r"|(x|g_|mem_|safe_?|s|ne)?(malloc|calloc|realloc|reallocarray|memalign|aligned_alloc|posix_memalign|strn?dup)"
    r"|g_(malloc0|malloc_n|malloc0_n|realloc_n|slice_alloc0?|try_malloc\w*)|(ztry|try|z)\w*(malloc|calloc|realloc)\w*"
    r"|_*Py(Mem|Object)_(Raw|Debug)?(GC)?(Malloc|Calloc|Realloc|Alloc)\w*|_?PyObject_GC_\w+|_?PyType_\w*Alloc\w*"
    r"|_PyMem_\w+|_PyObject_(Malloc|Calloc|Realloc)|pymalloc_\w+|PyList_New|list_resize"
)
INTERPRETER = re.compile(r"(lib)?python(3(\.\d+)?)?[dmt]*(\.so[.\d]*)?")
MACHINERY = re.compile(
    r".*/(call|ceval|methodobject|abstract|bltinmodule|import|pythonrun|main|python|classobject)\.[ch](\.h)?"
    r"|.*/(pycore_call|pycore_ceval|abstract|generated_cases\.c)\.h"
    r"|_?(PyEval|PyObject_(Vectorcall|Call|Fast|Make)|PyImport|PyFunction_Vectorcall|PyRun|Py_RunMain|Py_Main)\w*/.*"
)
ENTRIES = re.compile(
    r"_start|__libc_start_\w+|start_thread|_*clone3?"
)  # what is before main, or a thread's first function
OBJECTS = re.compile(r"\w*object\.c|gcmodule\.c|gc\.c|obmalloc\.c|pycore_\w+\.h|call\.c|abstract\.[ch]|object\.h")


class Callers:
    """The call stacks of a process's events, without an interpreter's own frames unless `keeps_all`."""

    def __init__(self, stacks: Stacks, threads: Sequence[str] = (), keeps_all: bool = False):
        self.has_sites = len(stacks) > 1
        self.stacks, self._numbers = (stacks, np.arange(len(stacks))) if keeps_all else without_interpreter(stacks)
        self._threads = threads
        self._stand_ins: dict[int, int] = {}

    def sites(self, events: Events) -> U32:
        """The stack of each event; UNKNOWN where there is none."""
        if self.has_sites:
            known = np.where(events.site < len(self._numbers), events.site, UNKNOWN)
            return self._numbers[known].astype(np.uint32)
        keys = events.thread.astype(np.int64) * CLASSES + size_class(events.size)
        names, places = np.unique(keys, return_inverse=True)
        return np.array([self._stand_in(key) for key in names.tolist()], np.uint32)[places]

    def _stand_in(self, key: int) -> int:
        if key not in self._stand_ins:
            thread, power = divmod(key, CLASSES)
            frames = [Frame(class_name(power)), Frame(thread_name(self._threads, thread))]
            self._stand_ins[key] = self.stacks.add(frames)
        return self._stand_ins[key]

    @cached_property
    def _own(self) -> list[bool]:
        """For each frame, whether it may be named."""
        return [not is_library(frame) for frame in self.stacks.frames]

    @cached_property
    def named(self) -> I64:
        """For each stack, the number of the frame to name; -1 for nobody. Use it when all events are read."""
        frames, own = self.stacks.frames, self._own
        named, python = [-1], [-1]
        for parent, frame in zip(self.stacks.parents[1:], self.stacks.innermost[1:], strict=True):
            python.append(frame if frames[frame].language == PYTHON and own[frame] else python[parent])
            named.append(frame if own[frame] or named[parent] < 0 else named[parent])
        return np.array([n if p < 0 else p for n, p in zip(named, python, strict=True)], np.int64)

    def frame(self, number: int) -> Frame:
        """The frame of a number in `named`."""
        return self.stacks.frames[number] if number >= 0 else NOBODY


def title(frame: Frame) -> str:
    """A frame in one line: `parse_row (a.py:12)`."""
    name = frame.function if frame.language == PYTHON else bare_name(frame.function)
    folder, _, place = frame.place.rpartition("/")
    if place.startswith("__init__.py"):
        place = f"{folder.rpartition('/')[2]}/{place}"
    return f"{name} ({place})" if place and place not in name else name


def short_name(name: str) -> str:
    """A title without its end, if it is very long."""
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"


def thread_name(names: Sequence[str], thread: int) -> str:
    """`worker (thread 3)`; numbers count from 1."""
    name = names[thread] if thread < len(names) else ""
    return f"{name} (thread {thread + 1})" if name else f"thread {thread + 1}"


# --- size classes


def size_class(size: U64 | I64) -> I64:
    """The power of two that a size needs: 4 for 9 to 16 bytes; 0 for up to 1 byte."""
    below = np.maximum(size.astype(np.uint64), 1) - np.uint64(1)
    found = np.zeros(len(size), np.int64)
    for step in (32, 16, 8, 4, 2, 1):
        large = below >> np.uint64(step) > 0
        found[large] += step
        below = np.where(large, below >> np.uint64(step), below)
    return found + (below > 0)


def class_name(power: int) -> str:
    """The sizes of a class, in words."""
    if power <= 1:
        return f"{'0 or 1' if power == 0 else '2'} bytes"
    return f"{(1 << power - 1) + 1:,} to {1 << power:,} bytes"


# --- an interpreter's frames


def without_interpreter(stacks: Stacks) -> tuple[Stacks, I64]:
    """The stacks without the frames of CPython's own functions, and for each stack its number among them.

    Between two Python functions there are some ten of the interpreter's, and inside the last one those that make its
    objects. They are dropped. Outside the first Python function only those are dropped that call and import.
    """
    kept, numbers, in_python = Stacks(), [UNKNOWN], [False]
    kinds = [(is_interpreter(frame), frame.language == PYTHON, is_machinery(frame)) for frame in stacks.frames]
    for parent, frame in zip(stacks.parents[1:], stacks.innermost[1:], strict=True):
        is_own, is_python, only_calls = kinds[frame]
        in_python.append(in_python[parent] or is_python)
        is_dropped = only_calls or (is_own and in_python[parent])
        outer = numbers[parent]
        numbers.append(outer if is_dropped else kept.under(outer, stacks.frames[frame]))
    return kept, np.array(numbers, np.int64)


def is_interpreter(frame: Frame) -> bool:
    """Whether a function is of CPython's binary."""
    return frame.language != PYTHON and bool(INTERPRETER.fullmatch(frame.module.rpartition("/")[2]))


def is_machinery(frame: Frame) -> bool:
    """Whether a function only starts others, or as part of CPython calls, imports or evaluates them."""
    if frame.language == PYTHON:
        return frame.file.startswith("<frozen ")
    if ENTRIES.fullmatch(frame.function):
        return True
    return is_interpreter(frame) and bool(MACHINERY.fullmatch(f"{frame.function}/{frame.file.rpartition('/')[2]}"))


# --- functions of libraries


def is_library(frame: Frame) -> bool:
    """Whether a function belongs to a language's library, or only passes requests on."""
    if frame.language == PYTHON:
        return frame.file.startswith("<frozen ")
    if frame.function.startswith("["):  # it stands for functions that are not known
        return True
    if is_interpreter(frame) and OBJECTS.fullmatch(frame.file.rpartition("/")[2]):
        return True
    name = bare_name(frame.function)
    return name.split("::")[0] in LIBRARIES or bool(WRAPPERS.fullmatch(name))


def bare_name(function: str) -> str:
    """A demangled function without its return type, its arguments and those of its templates.

    >>> bare_name("void std::vector<int, std::allocator<int> >::push_back(int&&)")
    'std::vector::push_back'
    >>> bare_name("<alloc::vec::Vec<T> as core::clone::Clone>::clone")
    'alloc::vec::Vec::clone'
    """
    if not set(function) & set("(<:"):
        return function  # of C, or no function at all
    if function.startswith("<"):  # Rust: <type as trait>::method
        end = closing(function)
        return bare_name(function[1:end].split(" as ", maxsplit=1)[0].lstrip("&[(")) + bare_name(function[end + 1 :])
    kept, depth = [], 0
    for letter in function.replace("(anonymous namespace)::", "").partition(" [")[0]:
        depth += (letter == "<") - (letter == ">")
        if letter == "(" and not depth:
            break
        if not depth and letter != ">":
            kept.append(letter)
    name = "".join(kept)
    return name if name.startswith("operator ") else name.rpartition(" ")[2]


def closing(function: str) -> int:
    """Where the bracket that opens a name is closed; its end if nowhere."""
    depth = 0
    for place, letter in enumerate(function):
        depth += (letter == "<") - (letter == ">" and function[place - 1] != "-")
        if not depth:
            return place
    return len(function)
