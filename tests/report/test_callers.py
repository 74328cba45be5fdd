"""Who asked: the function to name in a call stack, and size classes where there are no call stacks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heapwright.report.callers import (
    Callers,
    bare_name,
    class_name,
    is_interpreter,
    is_library,
    size_class,
    thread_name,
    title,
)
from heapwright.traces.events import ALLOC, DEALLOC, Events
from heapwright.traces.stacks import PYTHON, Frame, Stacks

CPP = [
    Frame("operator new(unsigned long)"),
    Frame("std::__new_allocator<char>::allocate(unsigned long, void const*)"),
    Frame("void std::vector<Row, std::allocator<Row> >::_M_realloc_insert<Row const&>(Row const&)"),
    Frame("Table::load(std::istream&)", "table.cpp", 40),
    Frame("main", "main.cpp", 9),
]
RUST = [
    Frame("__rust_alloc"),
    Frame("alloc::raw_vec::RawVec<T,A>::try_allocate_in"),
    Frame("<alloc::vec::Vec<T> as core::iter::traits::collect::FromIterator<T>>::from_iter"),
    Frame("<server::Cache as server::Store>::fill", "src/cache.rs", 17),
    Frame("std::rt::lang_start"),
]
PYTHON_STACK = [
    Frame("_PyObject_Malloc"),
    Frame("PyUnicode_New"),
    Frame("parse_row", "a.py", 12, "", PYTHON),
    Frame("_PyEval_Vector"),
    Frame("<module>", "a.py", 90, "", PYTHON),
]
C = [Frame("zmalloc_usable"), Frame("xmalloc"), Frame("createObject", "object.c", 40), Frame("main")]


@pytest.mark.parametrize(
    ("frames", "named"),
    [
        (CPP, "Table::load (table.cpp:40)"),
        (RUST, "server::Cache::fill (cache.rs:17)"),
        (PYTHON_STACK, "parse_row (a.py:12)"),
        (C, "createObject (object.c:40)"),
        (CPP[:3], "std::vector::_M_realloc_insert"),
        ([Frame("malloc"), Frame("libx.so+0x12", module="/lib/libx.so")], "libx.so+0x12"),
        ([], "an unknown caller"),
    ],
)
def test_the_function_of_the_program_is_named(frames, named):
    stacks = Stacks()
    stack = stacks.add(frames)
    stacks.add(CPP)
    callers = Callers(stacks)
    assert title(callers.frame(int(callers.named[stack]))) == named


@pytest.mark.parametrize(
    ("function", "name"),
    [
        ("operator new[](unsigned long)", "operator new[]"),
        ("std::ostream& parse<int>(std::string const&)", "parse"),
        ("(anonymous namespace)::helper(int)", "helper"),
        ("grow(char*) [clone .isra.0]", "grow"),
        ("17 to 32 bytes", "17 to 32 bytes"),
        ("<[T] as alloc::slice::ToOwned>::to_owned", "T]::to_owned"),
        ("<F as core::ops::Fn() -> T>::call", "F::call"),
        ("main", "main"),
        ("", ""),
        ("<", ""),
    ],
)
def test_a_name_without_types(function, name):
    assert bare_name(function) == name


@given(st.text("ab<>(): &[]-*", max_size=30))
def test_any_text_has_a_name(function):
    bare_name(function)


@pytest.mark.parametrize("function", ["stdlib_parse", "allocate_rows", "mallocator", "core_loop()", "realloc_table"])
def test_the_programs_own_functions_are_no_library(function):
    assert not is_library(Frame(function))


@given(st.lists(st.integers(0, (1 << 64) - 1)))
def test_the_class_of_a_size_is_the_power_of_two_that_it_needs(sizes):
    found = size_class(np.array(sizes, "u8"))
    assert found.tolist() == [(max(size, 1) - 1).bit_length() for size in sizes]


def test_classes_have_names():
    assert [class_name(power) for power in (0, 1, 2, 10)] == [
        "0 or 1 bytes",
        "2 bytes",
        "3 to 4 bytes",
        "513 to 1,024 bytes",
    ]


PYTHON3 = "/usr/bin/python3.11"
DEEP = [  # as recorded, innermost first
    Frame("new_keys_object", "Objects/dictobject.c", 632, PYTHON3),
    Frame("_PyObject_VectorcallTstate", "Include/internal/pycore_call.h", 92, PYTHON3),
    Frame("array_resize", "multiarray.c", 5, "/x/_multiarray.so"),
    Frame("parse_row", "a.py", 12, "", PYTHON),
    Frame("_PyEval_Vector", "Python/ceval.c", 6434, PYTHON3),
    Frame("_find_and_load", "<frozen importlib._bootstrap>", 1176, "", PYTHON),
    Frame("<module>", "json/__init__.py", 3, "", PYTHON),
    Frame("_PyEval_EvalFrameDefault", "", 0, PYTHON3),
    Frame("init_import_site", "Python/pylifecycle.c", 2159, PYTHON3),
    Frame("Py_BytesMain", "Modules/main.c", 734, PYTHON3),
    Frame("__libc_start_main", "libc-start.c", 360, "/lib/libc.so.6"),
    Frame("_start", "", 0, PYTHON3),
]


def test_an_interpreters_frames_are_dropped_unless_they_are_asked_for():
    stacks = Stacks()
    deep, in_c = stacks.add(DEEP), stacks.add([DEEP[0], *DEEP[8:]])
    events = Events.of(op=[ALLOC] * 2, thread=[0] * 2, block=[0, 1], size=[8, 8], site=[deep, in_c])
    callers = Callers(stacks)
    (python, start) = callers.sites(events).tolist()
    names = [frame.function for frame in callers.stacks.of(python)]
    assert names == ["array_resize", "parse_row", "<module>", "init_import_site"]
    assert [frame.function for frame in callers.stacks.of(start)] == ["new_keys_object", "init_import_site"]
    named = [title(callers.frame(int(callers.named[site]))) for site in (python, start)]
    assert named == ["parse_row (a.py:12)", "init_import_site (pylifecycle.c:2159)"]
    whole = Callers(stacks, keeps_all=True)
    assert whole.stacks.of(int(whole.sites(events)[0])) == DEEP


@pytest.mark.parametrize(
    "module", ["/usr/bin/python3.11", "/x/libpython3.12.so.1.0", "/opt/bin/python3", "python3.13t"]
)
def test_the_interpreters_binary_is_known(module):
    assert is_interpreter(Frame("f", module=module))


@pytest.mark.parametrize("module", ["/x/python-helper.so", "/x/_json.cpython-311.so", "/bin/pythonista", ""])
def test_other_binaries_are_not(module):
    assert not is_interpreter(Frame("f", module=module))


def test_a_package_is_named_by_its_folder():
    assert title(Frame("<module>", "/lib/re/__init__.py", 124, "", PYTHON)) == "<module> (re/__init__.py:124)"


def test_without_call_sites_thread_and_size_stand_in():
    events = Events.of(op=[ALLOC, ALLOC, DEALLOC, ALLOC], thread=[0, 1, 1, 0], block=[0, 1, 1, 2], size=[30, 5, 0, 17])
    callers = Callers(Stacks(), ["main"])
    sites = callers.sites(events)
    assert not callers.has_sites
    stacks = [[frame.function for frame in callers.stacks.of(site)] for site in sites.tolist()]
    assert stacks[0] == stacks[3] == ["17 to 32 bytes", "main (thread 1)"]
    assert stacks[1] == ["5 to 8 bytes", "thread 2"]
    assert thread_name(["", "x"], 0) == "thread 1"


def test_a_stack_that_is_not_there_is_unknown():
    stacks = Stacks()
    stacks.add(C)
    events = Events.of(op=[ALLOC, ALLOC], thread=[0, 0], block=[0, 1], size=[1, 1], site=[2, 99])
    assert Callers(stacks).sites(events).tolist() == [2, 0]
