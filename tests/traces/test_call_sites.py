"""From the records of call stacks to the stacks of a trace."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heapwright.traces import raw, raw_stacks
from heapwright.traces.call_sites import CUT, LOST, Needed, cut, pruned, translate
from heapwright.traces.explained import Explained, explains
from heapwright.traces.stacks import PYTHON, UNKNOWN, Frame
from heapwright.traces.structs import dtype_of
from heapwright.traces.symbols import ModuleFile


def records(*rows):
    found = np.zeros(len(rows), dtype_of(raw.Record))
    for record, row in zip(found, rows, strict=True):
        for name, value in row.items():
            record[name] = value
    return found


def stack(number, value, parent=0):
    return {"op": raw_stacks.STACK, "site": number, "block": value, "old": parent}


def text(kind, owner, data):
    for place in range(0, len(data), 16):
        first, second = np.frombuffer(data[place : place + 16].ljust(16, b"\0"), "<i8")
        where = place << 32 | len(data)
        yield {"op": raw_stacks.TEXT, "log2_align": kind, "site": owner, "block": where, "old": first, "size": second}


def in_module(number, offset):
    return number << raw_stacks.MODULE_SHIFT | offset


def symbols(module, address):
    """A function for each address; at 0x99, one that is inlined into another."""
    outer = Frame(f"{module.path}:{address:x}", module=module.path)
    return [Frame("inner", is_inlined=True), outer] if address == 0x99 else [outer]


MODULE = [*text(raw_stacks.PATH, 1, b"/usr/lib/libfirst.so.1"), *text(raw_stacks.BUILD_ID, 1, b"\xab\xcd")]


def translated(explained, *sites):
    stacks, [found] = translate([(explained, np.array(sites, "u4"))], symbols)
    return [[frame.function for frame in stacks.of(site)] for site in found.tolist()]


@pytest.fixture
def explained():
    found = Explained()
    found.add(records(*MODULE, stack(1, in_module(1, 0x11)), stack(2, in_module(1, 0x21), 1)))
    return found


def test_a_return_address_belongs_to_the_call_before_it(explained):
    assert translated(explained, 2, 1, 0) == [
        ["/usr/lib/libfirst.so.1:20", "/usr/lib/libfirst.so.1:10"],
        ["/usr/lib/libfirst.so.1:10"],
        [],
    ]


def test_a_module_has_its_path_and_its_build_id(explained):
    assert explained.module(1) == ModuleFile("/usr/lib/libfirst.so.1", "abcd")
    assert explained.module(2) == ModuleFile("")


def test_an_inlined_function_has_a_frame(explained):
    explained.add(records(stack(3, in_module(1, 0x9A), 1)))
    assert translated(explained, 3) == [["inner", "/usr/lib/libfirst.so.1:99", "/usr/lib/libfirst.so.1:10"]]


def test_marks_and_code_of_no_module(explained):
    explained.add(records(stack(3, raw_stacks.CUT_FRAME), stack(4, raw_stacks.LOST_FRAME), stack(5, 0x7F0000001000, 4)))
    assert translated(explained, 3, 5) == [[CUT.function], ["0x7f0000001000", LOST.function]]


def test_records_come_in_any_order():
    found = Explained()
    found.add(records(stack(2, in_module(1, 0x21), 1), *reversed(MODULE)))
    found.add(records(stack(1, in_module(1, 0x11))))
    assert translated(found, 2) == [["/usr/lib/libfirst.so.1:20", "/usr/lib/libfirst.so.1:10"]]


def test_a_child_knows_what_its_parent_explained(explained):
    child = Explained(explained)
    child.add(records(stack(3, in_module(1, 0x31), 2)))
    explained.add(records(stack(3, in_module(1, 0x41))))  # after the fork: the number is another stack's
    assert translated(child, 3, 2)[0][0] == "/usr/lib/libfirst.so.1:30"
    assert len(translated(child, 3, 2)[1]) == 2
    assert translated(explained, 3) == [["/usr/lib/libfirst.so.1:40"]]


@pytest.mark.parametrize(
    ("width", "coding", "name"), [(1, "latin-1", "grün"), (2, "utf-16-le", "訪問"), (4, "utf-32-le", "𝔣")]
)
def test_python(width, coding, name):
    found = Explained()
    value = raw_stacks.PYTHON_FRAME | 7 << raw_stacks.CODE_SHIFT | 2
    name_record = text(raw_stacks.CODE_NAME + width, 7, name.encode(coding))
    code = {"op": raw_stacks.CODE, "site": 7, "block": 30}
    lines = text(raw_stacks.LINE_TABLE, 7, bytes([0x80 | 11 << 3, 0, 0, 0x80 | 12 << 3, 0, 0]))
    found.add(records(code, *name_record, *text(raw_stacks.FILE_NAME + 1, 7, b"a.py"), *lines, stack(1, value)))
    stacks, [[site]] = translate([(found, np.array([1], "u4"))], symbols)
    assert stacks.of(site) == [Frame(name, "a.py", 33, language=PYTHON)]


def test_missing_records_leave_the_rest(explained):
    value = raw_stacks.PYTHON_FRAME | 7 << raw_stacks.CODE_SHIFT
    explained.add(records(stack(4, value, 1), stack(9, in_module(5, 0x10), 8)))
    assert translated(explained, 77, 4, 9) == [[], ["?", "/usr/lib/libfirst.so.1:10"], [":f"]]


def test_a_damaged_number_does_no_harm():
    found = Explained()
    loop = [stack(1, in_module(1, 1), 2), stack(2, in_module(1, 1), 1)]
    torn = {"op": raw_stacks.TEXT, "log2_align": 1, "site": 1, "block": 5 << 32 | 3}
    huge = {"op": raw_stacks.TEXT, "log2_align": 1, "site": 1, "block": 1 << 31}
    found.add(records(*loop, torn, huge))
    assert [len(each) for each in translated(found, 1, 2)] == [1, 2]


def test_processes_share_the_stacks_of_a_trace(explained):
    other = Explained()
    other.add(records(*MODULE, stack(5, in_module(1, 0x11))))
    _, (first, second) = translate([(each, np.array([n], "u4")) for each, n in ((explained, 1), (other, 5))], symbols)
    assert first.tolist() == second.tolist() != [UNKNOWN]


def test_equal_stacks_are_one_however_they_were_found(explained):
    twice = records(stack(3, in_module(1, 0x11)), stack(4, in_module(1, 0x21), 3), stack(5, in_module(1, 0x31), 4))
    explained.add(twice)
    explained.add(records(stack(6, in_module(1, 0x9A), 5), stack(7, in_module(1, 0x9A), 2)))
    stacks, [found] = translate([(explained, np.array([2, 4, 6, 7, 1, 3], "u4"))], symbols)
    assert found[0] == found[1] and found[4] == found[5] and len(set(found.tolist())) == 4
    assert len(stacks) == 1 + 3 + 2 + 2
    pairs = list(zip(stacks.parents, stacks.innermost, strict=True))[1:]
    assert len(set(pairs)) == len(pairs)
    assert all(parent < number for number, parent in enumerate(stacks.parents[1:], 1))


def test_thousands_of_stacks_are_those_that_were_recorded():
    chance, found, expected = random.Random(5), Explained(), [[]]
    rows = []
    for number in range(1, 3000):
        caller, value = chance.randrange(max(0, number - 40), number), in_module(1, chance.randrange(1, 30))
        rows.append(stack(number, value, caller))
        expected.append([f"/usr/lib/libfirst.so.1:{(value & 0xFF) - 1:x}", *expected[caller]])
    chance.shuffle(rows)
    found.add(records(*MODULE, *rows[:1000]))
    found.add(records(*rows[1000:]))
    asked = chance.sample(range(3000), 700)
    assert translated(found, *asked) == [expected[number] for number in asked]


def test_which_records_explain():
    found = records({"op": raw.ALLOC}, stack(1, 1), {"op": raw_stacks.TEXT}, {"op": raw_stacks.TEXT + 1})
    assert explains(found).tolist() == [False, True, True, False]


@pytest.mark.parametrize("depth", [1, 2, 3, 7])
@given(st.lists(st.tuples(st.integers(0, 30), st.integers(10, 13)), min_size=1, max_size=30))
def test_the_innermost_frames_are_kept_under_a_mark(depth, frames):
    """The callers of each frame are one of the frames before it, mostly the last."""
    callers = [0, *(max(0, place - jump // 10) for place, (jump, _) in enumerate(frames))]
    values = [0, *(value for _, value in frames)]
    stacks = Needed(np.array(callers), np.array(values), np.arange(len(values)))
    shorter = pruned(cut(stacks, depth))
    for whole, kept in zip(stacks.asked.tolist(), shorter.asked.tolist(), strict=True):
        expected = values_of(stacks, whole)
        mark = [raw_stacks.CUT_FRAME] if len(expected) > depth else []
        assert values_of(shorter, kept) == expected[:depth] + mark


def values_of(stacks, place):
    """The values of a stack, the innermost first. Callers have lower places."""
    found = []
    while place:
        found.append(int(stacks.values[place]))
        assert stacks.callers[place] < place
        place = int(stacks.callers[place])
    return found
