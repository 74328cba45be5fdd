"""The user programs: what each prints, how it exits, and what is left of its heap, on several allocators."""

import re
from pathlib import Path

import pytest

from heapwright import allocator
from heapwright.collections import Box, Rc, Vec, drop, i32, running
from heapwright.machine import Kind
from heapwright.programs import PROGRAMS
from heapwright.programs.run import UnknownProgram, find_program, run_program
from heapwright.programs.user import Args, Fatal, exit, fork, println, stats, wait

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


@pytest.mark.parametrize("name", ["linked_list", "kr", "dlmalloc", "tlsf"])
def test_no_allocator_beats_robsons_bound_and_first_fit_without_headers_meets_it(name):
    outcome = run_program("robson", name, ("robson", "64", "8"))
    held, over, least = (int(re.search("[0-9,]+ bytes", line)[0][:-6].replace(",", "")) for line in outcome.output[-3:])
    assert least == (64 * 5 // 2 - 8 + 1) * 256
    assert held >= over > least - 256
    assert (over == least) == (name == "linked_list")


@pytest.mark.parametrize("arguments", [("8", "16"), ("many",), ("48",), ("64", "0")])
def test_robson_wants_powers_of_two(arguments):
    assert run_program("robson", "kr", ("robson", *arguments)).exit_code == 1


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


def test_a_kernel_panic_ends_the_program():
    def main(_):
        return running().memory.load(1 << 30, 8)

    outcome = run_program(main, "kr", defects=["S8"])
    assert outcome.exit_code == 1 and "page fault" in outcome.panic


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
        assert rc.value == 1 and stats()["live_blocks"] == 1
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


def test_an_unknown_program():
    with pytest.raises(UnknownProgram, match="no program is named 'boxtst': did you mean 'boxtest'"):
        find_program("boxtst")
    with pytest.raises(UnknownProgram, match="there are boxtest, vectest"):
        find_program("zzz")
