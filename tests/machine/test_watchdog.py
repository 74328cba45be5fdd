"""A loop that makes no load and no store is ended, and told with its line; what makes some, or returns, is let be."""

import os
import signal
import subprocess
import sys
import time

import pytest
from toy import Header, bump, bump_alloc, fault

from heapwright.machine import Kind, start
from heapwright.machine.calls import Interrupted
from heapwright.machine.threads import Threads
from heapwright.machine.watchdog import INSTRUCTIONS, WATCHDOG


@pytest.fixture(autouse=True)
def hasty(monkeypatch):
    monkeypatch.setattr(WATCHDOG, "seconds", 0.1)


def spin(heap, size, align):
    turns = 0
    while turns >= 0:
        turns += 1
    return 0


def follow(n):
    return n + 1


def spin_through_helpers(heap, size, align):
    turns = 0
    while turns >= 0:
        turns = follow(
            turns,
        )
    return 0


def ask_the_kernel(heap, size, align):
    while heap.memory.sbrk(0) >= 0:
        pass
    return 0


def in_one_line(heap, size, align):
    while True: pass  # noqa: E701  # fmt: skip


@pytest.mark.parametrize("alloc", [spin, spin_through_helpers, ask_the_kernel, in_one_line])
def test_a_loop_without_an_access_ends(alloc):
    found = fault(start(bump(alloc=alloc)).alloc, 40)
    assert found.kind == Kind.ENDLESS
    assert found.what.startswith("no load or store for 0.1 s: line")
    assert found.call == "alloc(40, 16)"
    assert (found.place.function, found.place.text[:5]) == (alloc.__name__, "while")
    assert sys.gettrace() is None


@pytest.mark.parametrize("name", ["walk", "check", "dealloc", "trim"])
def test_in_every_function(name):
    def loop(heap, *_):
        while True:
            heap.memory.thread_id()

    heap = start(bump(**{name: loop}))
    address = heap.alloc(40)
    call = {"walk": heap.walked, "check": heap.check, "dealloc": lambda: heap.dealloc(address), "trim": heap.trim}[name]
    assert fault(call).kind == Kind.ENDLESS


def test_the_heap_of_another_call_is_served_afterwards():
    heap = start(
        bump(alloc=lambda heap, size, align: spin(heap, size, align) if size == 7 else bump_alloc(heap, 8, 16))
    )
    assert fault(heap.alloc, 7).kind == Kind.ENDLESS
    assert heap.alloc(8) and heap.process.thread.call is None


def test_a_simulated_thread_is_looked_at_too():
    heap = start(bump(alloc=spin))
    threads = Threads(heap)
    threads.spawn(lambda: heap.alloc(40))
    assert fault(threads.run).kind == Kind.ENDLESS


def test_one_that_computes_for_long_and_returns_is_let_be():
    def alloc(heap, size, align):
        began = time.process_time()
        while time.process_time() < began + 0.2:
            sum(range(10_000))  # few lines, but long ones
        return bump_alloc(heap, size, align)

    assert start(bump(alloc=alloc)).alloc(40)
    assert sys.gettrace() is None


def test_one_that_makes_an_access_now_and_then_is_let_be():
    def alloc(heap, size, align):
        address, began = bump_alloc(heap, size, align), time.process_time()
        while time.process_time() < began + 0.2:
            for _ in range(INSTRUCTIONS // 20):
                pass
            Header(heap.memory, address - 16).size += 0
        return address

    assert start(bump(alloc=alloc)).alloc(40)


def test_a_loop_of_the_users_program_is_none_of_its_business():
    heap = start(bump())
    heap.alloc(40)
    began = time.process_time()
    while time.process_time() < began + 0.2:
        pass
    assert heap.alloc(40)


def test_a_debugger_is_left_alone():
    seen = []

    def alloc(heap, size, align):
        began = time.process_time()
        while time.process_time() < began + 0.2:
            pass
        return bump_alloc(heap, size, align)

    def trace(frame, event, argument):
        seen.append(event)

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        assert start(bump(alloc=alloc)).alloc(40)
        assert sys.gettrace() is trace
    finally:
        sys.settrace(before)


def test_a_forked_child_has_a_watchdog_of_its_own():
    start(bump())
    child = os.fork()
    if child == 0:
        try:
            os._exit(fault(start(bump(alloc=spin)).alloc, 40).kind != Kind.ENDLESS)
        finally:
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0


# --- Ctrl-C


def test_an_interrupt_says_where_the_allocator_was():
    def alloc(heap, size, align):
        raise KeyboardInterrupt

    with pytest.raises(
        Interrupted, match=r"^at test_watchdog\.py:\d+ in alloc: raise KeyboardInterrupt, during alloc\("
    ):
        start(bump(alloc=alloc)).alloc(40)


HANGS = """
import sys, time
from heapwright.layout import Struct

class Heap(Struct):
    pass

def alloc(heap, size, align):
    print("here", flush=True)
    while True:
        time.sleep(1)

def dealloc(heap, address, size, align):
    pass

def walk(heap, start, end):
    yield start, end - start, 1

def check(heap, start, end):
    pass
"""


HEED = ("env", "--default-signal=INT")  # a shell lets what it starts in the background ignore interrupts


@pytest.mark.parametrize("command", ["simulate boxtest -a", "check --quick --only own"])
def test_control_c(tmp_path, command):
    path = tmp_path / "mine.py"
    path.write_text(HANGS)
    line = [sys.executable, "-m", "heapwright", *command.split(), str(path)]
    with subprocess.Popen([*HEED, *line], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        while child.stdout.readline().strip() != "here":
            pass
        child.send_signal(signal.SIGINT)
        _, error = child.communicate(timeout=30)
    assert child.returncode == 130
    said = [line for line in error.splitlines() if line.startswith("heapwright: interrupted")]
    assert len(said) == 1 and "mine.py:" in said[0] and "in alloc" in said[0] and "Traceback" not in error
