"""The user programs: what each prints, how it exits, and what is left of its heap, on several allocators."""

import re
from pathlib import Path

import pytest

from heapwright import allocator
from heapwright.collections import Box, Rc, Vec, drop, i32, running
from heapwright.machine import Kind
from heapwright.programs import PROGRAMS
from heapwright.programs.run import UnknownProgram, find_program, run_program
from heapwright.programs.user import (
    SYS_EXIT,
    SYS_GETPID,
    SYS_SBRK,
    SYS_WAIT,
    Args,
    Fatal,
    exit,
    fork,
    println,
    stats,
    syscall,
    test_runner,
    wait,
)

ALLOCATORS = ("kr", "linked_list")
BOXTEST = [
    "Box value: 42",
    "Another Box value: 100",
    "String Box: Hello, Box!",
    "Array Box: [1, 2, 3, 4, 5]",
    "All Box tests passed!",
]
CODES = dict.fromkeys(PROGRAMS, 0) | {"leaktest": 3}


@pytest.mark.parametrize("name", ALLOCATORS)
def test_boxtest_prints_its_five_lines(name):
    outcome = run_program("boxtest", name)
    assert outcome.output == BOXTEST
    assert (outcome.exit_code, outcome.leaks, outcome.fault) == (0, [], None)
    assert (outcome.operations, outcome.live_bytes, outcome.peak_bytes) == (8, 0, 40)
    assert outcome.heap_bytes == outcome.stats["heap_bytes"]


@pytest.mark.parametrize("name", [*allocator.ALLOCATORS, "counted(kr)", "locked(linked_list)", "sized(linked_list)"])
@pytest.mark.parametrize("program", [each for each in PROGRAMS if each != "compacttest"])  # see test_handle_table
def test_every_program_on_every_allocator(program, name):
    outcome = run_program(program, name)
    assert (outcome.exit_code, outcome.fault, outcome.panic) == (CODES[program], None, "")
    assert bool(outcome.leaks) == (program == "leaktest")


@pytest.mark.parametrize("semantics", ["xv6", "xv6rs"])
def test_boxtest_on_the_kernels_with_defects(semantics):
    assert run_program("boxtest", "kr", semantics=semantics).output == BOXTEST


@pytest.mark.parametrize("page", [16384, 65536])
def test_boxtest_with_large_pages(page):
    assert run_program("boxtest", page=page).output == BOXTEST


def test_forktest():
    outcome = run_program("forktest", "kr")
    assert outcome.output == ["Child: 42 and 8", "Parent: the child ended with 123, and the value is still 7"]


def test_leaktest_tells_where():
    box, *nodes = sorted(run_program("leaktest").leaks, key=lambda leak: leak.owner)
    assert (box.owner, box.block.size, Path(box.block.allocated.file).name) == ("Box<i32>", 4, "leaktest.py")
    assert box.block.allocated.text == "forget(Box(42))"
    assert [node.owner for node in nodes] == ["Rc<Node>"] * 2 and all(len(node.circle) == 2 for node in nodes)


def test_statstest_says_what_the_walk_says():
    outcome = run_program("statstest", "kr")
    numbers = [list(map(int, re.findall(r"(\d+) (?:bytes live|free|in the heap)", line))) for line in outcome.output]
    assert all(live + free == heap for live, free, heap in numbers)
    assert numbers[0][0] - numbers[1][0] in range(1000, 1000 + 32)
    assert numbers[0][2] == outcome.heap_bytes


def test_statstest_tells_of_each_class():
    output = run_program("statstest", "counted(kr)").output
    assert [line.removesuffix(" requests") for line in output if line.startswith("up to")] == [
        "up to 16 bytes: 1 blocks live, 1",
        "up to 1024 bytes: 1 blocks live, 1",
        "up to 16 bytes: 1 blocks live, 1",
        "up to 1024 bytes: 0 blocks live, 1",
    ]


def test_looptest_takes_its_rounds():
    assert run_program("looptest", "kr", ("looptest", "250")).output == ["250 boxes, 0 bytes more"]
    outcome = run_program("looptest", "kr", ("looptest", "many"))
    assert (outcome.output, outcome.exit_code) == (["fatal: how many rounds?"], 1)


@pytest.mark.parametrize("name", ["linked_list", "kr", "segregated_fits", "dlmalloc", "tlsf"])
def test_no_allocator_beats_robsons_bound_and_first_fit_without_headers_meets_it(name):
    outcome = run_program("robson", name, ("robson", "64", "8"))
    held, over, minimum = (
        int(re.search("[0-9,]+ bytes", line)[0][:-6].replace(",", "")) for line in outcome.output[-3:]
    )
    assert minimum == (64 * 5 // 2 - 8 + 1) * 256
    assert held >= over > minimum - 256
    assert (over == minimum) == (name == "linked_list")


@pytest.mark.parametrize("arguments", [("8", "16"), ("many",), ("48",), ("64", "0")])
def test_robson_wants_powers_of_two(arguments):
    assert run_program("robson", "kr", ("robson", *arguments)).exit_code == 1


def test_the_test_runner():
    outcome = run_program("testrunner", "kr")
    head, *cases, last = outcome.output
    assert (head, last) == ("Running 8 tests", "all tests finished!")
    assert cases[0] == "box_integer...\t[ok]" and all(case.endswith("...\t[ok]") for case in cases) and len(cases) == 8
    assert (outcome.exit_code, outcome.leaks) == (0, [])


def test_the_test_runner_stops_at_the_first_failure():
    def good():
        Box(1)

    def bad():
        raise AssertionError(f"it is {Box(2)}")

    def unseen():
        println("not run")

    outcome = run_program(lambda _: test_runner(good, bad, unseen), "kr")
    assert outcome.output[:3] == ["Running 3 tests", "good...\t[ok]", "bad...\t[failed]"]
    assert re.fullmatch(r"failed: panicked at test_programs\.py:\d+:", outcome.output[3])
    assert outcome.output[4:] == ["it is 2"] and outcome.exit_code == 1


def test_a_fault_in_a_test_case_ends_the_program():
    def twice():
        x = Box(1)
        x.runtime.heap.dealloc(x.address)

    outcome = run_program(lambda _: test_runner(twice), "kr")
    assert outcome.fault is not None and "double free" in str(outcome.fault)


@pytest.mark.parametrize("name", ["kr", "linked_list", "dlmalloc", "buddy"])
def test_the_break_by_the_number_of_the_call(name):
    def main(_):
        x = Box(1)
        before = syscall(SYS_SBRK, 0)
        assert syscall(SYS_SBRK, 100) == before and syscall(SYS_SBRK, 0) == before + 100
        x.runtime.memory.store(before, 1, 7)
        vecs = [Vec.with_capacity(10000, i32) for _ in range(3)]
        assert x.runtime.memory.load(before, 1) == 7, "the allocator leaves it alone"
        return len(vecs)

    outcome = run_program(main, name)
    assert (outcome.output, outcome.exit_code, outcome.leaks, outcome.fault) == ([], 3, [], None)


def test_calls_that_fail_and_calls_that_are_none():
    def main(_):
        assert syscall(SYS_SBRK, 1 << 40) == -1
        assert syscall(SYS_WAIT) == -1 and syscall(SYS_GETPID) == running().heap.process.pid
        assert syscall(99) == -1
        syscall(SYS_EXIT, 5)

    outcome = run_program(main, "kr")
    assert (outcome.exit_code, outcome.output) == (5, ["1: unknown sys call 99"])


def test_taking_the_heap_away_is_a_fault():
    def main(_):
        x = Box(1)
        syscall(SYS_SBRK, -(syscall(SYS_SBRK, 0) - running().heap.process.heap_start))
        return x.value

    outcome = run_program(main, "kr")
    assert outcome.fault is not None and outcome.exit_code == 1


# --- how programs end


def test_fatal_drops_what_it_holds():
    def main(_):
        Box(1)
        x = Box(2)
        raise Fatal(f"no {x}")

    outcome = run_program(main, "kr")
    assert (outcome.output, outcome.exit_code, outcome.leaks, outcome.live_blocks) == (["fatal: no 2"], 1, [], 0)


def test_exit_keeps_what_it_holds_and_is_no_leak():
    def main(_):
        x = Box(1)
        exit(x.value + 6)

    outcome = run_program(main)
    assert (outcome.exit_code, outcome.leaks, outcome.is_judged, outcome.live_blocks) == (7, [], False, 1)


def test_a_failed_assertion_is_a_panic(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("from heapwright.collections import Box\ndef main(_):\n    x = Box(1)\n    assert x.value == 2\n")
    outcome = run_program(str(path))
    assert outcome.output == ["panic: panicked at mine.py:4:", "assertion failed: x.value == 2"]
    assert (outcome.exit_code, outcome.is_judged) == (1, False)


@pytest.mark.parametrize("request_number", range(1, 4))
def test_no_memory_is_a_panic_wherever_it_happens(request_number):
    outcome = run_program(many_vecs, "kr", sbrk_fails=request_number)
    assert outcome.exit_code == 1
    assert re.search(r"^memory allocation of \d+ bytes failed$", outcome.output[-1])


def many_vecs(_):
    vecs = [Vec.with_capacity(10000, i32) for _ in range(10)]
    return len(vecs)


def test_few_frames_are_no_memory_either():
    assert "memory allocation of 16 bytes failed" in run_program("vectest", "kr", frames=17).output


def test_a_fault_ends_the_program():
    def main(_):
        x = Box(1)
        kept = x.runtime.heap
        kept.dealloc(x.address)
        return x.value

    outcome = run_program(main, "kr")
    assert (outcome.exit_code, outcome.fault.kind) == (1, Kind.FREED)
    assert outcome.fault.place.text == "return x.value"
    assert "freed at test_programs.py:" in str(outcome.fault)


ERRORS = {
    "a misspelt field": ("    heap.bottom += room\n", "    heap.botom += room\n", "did you mean 'bottom'?"),
    "a division": ("    heap.bottom += room\n", "    heap.bottom += room // (room - room)\n", "ZeroDivisionError"),
    "in bits.py": ("align_up(size, UNIT)", "align_up(size, None)", "TypeError"),
    "in a finalizer": ("    pass\n", "    return {}[size]\n", "KeyError: 4"),
    "a shorter alloc": ("alloc(heap, size, align)", "alloc(heap, size)", "TypeError"),
    "in check": ('    """Nothing."""\n', "    return {}[start]\n", "KeyError"),
    "in walk": ("    yield start", "    yield {}[start]", "KeyError"),
}
BUMP = '''
from heapwright.bits import align_up
from heapwright.layout import Struct, Word
from heapwright.spans import FREE, USED

UNIT = 16
WALK = "extents"


class Heap(Struct):
    bottom: Word


def alloc(heap, size, align):
    room = align_up(size, UNIT)
    heap.bottom += room
    return align_up(heap.memory.sbrk(room), UNIT)


def dealloc(heap, address, size, align):
    pass


def walk(heap, start, end):
    yield start, end - start, USED if heap.bottom else FREE


def check(heap, start, end):
    """Nothing."""
'''


@pytest.mark.parametrize("error", ERRORS)
def test_an_error_in_the_allocator_is_shown_at_its_line(error, tmp_path):
    right, wrong, text = ERRORS[error]
    assert BUMP.count(right) == 1
    path = tmp_path / "mine.py"
    path.write_text(BUMP.replace(right, wrong))
    outcome = run_program(lambda _: Box(1).value - 1, str(path))
    assert outcome.output == [], "the program does not panic"
    assert outcome.fault.kind == Kind.ERROR and text in outcome.fault.what
    assert outcome.fault.place.file == str(path) and outcome.fault.place.text == wrong_line(wrong, path)


def wrong_line(wrong, path):
    return next(line.strip() for line in path.read_text().splitlines() if wrong.strip() in line)


def test_an_interrupt_in_a_finalizer_is_one(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(BUMP.replace("    pass\n", "    raise KeyboardInterrupt\n"))
    with pytest.raises(KeyboardInterrupt, match=r"^at mine.py:\d+ in dealloc: raise KeyboardInterrupt"):
        run_program(lambda _: Box(1).value, str(path))


def test_a_kernel_panic_ends_the_program():
    def main(_):
        return running().memory.load(1 << 30, 8)

    outcome = run_program(main, "kr", defects=["S8"])
    assert outcome.exit_code == 1 and "page fault" in outcome.panic


def test_a_program_that_uses_memory_wrongly_panics_at_its_own_line():
    outcome = run_program(lambda _: running().memory.load(0, 3))
    assert outcome.output[0].startswith("panic: panicked at test_programs.py:")


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (lambda x: drop(x) or x.value, "this Box<i32> was dropped at test_programs.py:"),
        (lambda x: {}["key"], "KeyError: 'key'"),
        (lambda x: Box(1 << 40), "TypeError: 1099511627776 is not an i32"),
    ],
    ids="123",
)
def test_any_other_exception_is_a_panic(wrong, text):
    outcome = run_program(lambda _: wrong(Box(1)))
    assert outcome.exit_code == 1
    assert re.fullmatch(r"panic: panicked at test_programs\.py:\d+:", outcome.output[0])
    assert outcome.output[1].startswith(text)


@pytest.mark.long
def test_a_broken_heap_is_a_fault():
    def main(_):
        x = Box(1)
        running().heap.process.poke(x.address - 8, bytes(8))
        running().heap.check()

    outcome = run_program(main, "kr")
    assert outcome.fault is not None and outcome.exit_code == 1


# --- what programs are written with


def test_arguments():
    args = Args(["name", "a", "b", "c"])
    assert args.skip(1).next() == "a"
    assert list(args) == ["b", "c"] and args.next() is None


def test_children_and_waiting():
    def main(_):
        assert wait() == (-1, -1)
        rc = Rc(1)

        def child():
            drop(rc)
            println("child")
            return 5

        pids = [fork(child), fork(child)]
        assert [wait(), wait()] == [(pid, 5) for pid in pids]
        assert rc.value == 1 and stats()["live_bytes"] > 0
        return 0

    outcome = run_program(main, "kr")
    assert (outcome.exit_code, outcome.output, outcome.leaks) == (0, ["child", "child"], [])


def test_a_fork_without_frames():
    def main(_):
        return 9 if fork(lambda: 0) == -1 else 0

    assert run_program(main, "kr", frames=16).exit_code == 9


def test_a_program_in_a_file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("from heapwright.collections import Box\ndef main(args):\n    return Box(4).value\n")
    assert run_program(str(path)).exit_code == 4
    path.write_text("x = 1\n")
    with pytest.raises(UnknownProgram, match="has no main"):
        find_program(str(path))
    path.write_text("def main(\n")
    with pytest.raises(UnknownProgram, match="cannot be loaded: SyntaxError"):
        find_program(str(path))
    with pytest.raises(UnknownProgram, match="there is no file"):
        find_program(str(tmp_path / "none.py"))
