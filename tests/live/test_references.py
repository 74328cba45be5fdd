"""Leaks, and who points to one block."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from heapwright.lab.inspect import inspect
from heapwright.live.findings import Options
from heapwright.live.references import leaked, reach
from heapwright.live.show import kind_at

pytestmark = pytest.mark.long


def numbers(*values):
    return np.array(values, np.int64)


def test_reach_follows_edges_from_the_roots_and_round_circles():
    reached = reach(6, numbers(0), numbers(0, 1, 2, 4, 5), numbers(1, 2, 0, 5, 4))
    assert reached.tolist() == [True, True, True, False, False, False]


def test_a_long_list_is_reached_as_a_whole():
    count = 100_000
    assert reach(count, numbers(0), np.arange(count - 1), np.arange(1, count)).all()


def test_forgotten_blocks_are_leaks_and_kept_ones_are_not(program, compiled, heapwright):
    running = program(compiled("leak.c"))
    running.ask("more")
    report = json.loads(heapwright("inspect", running.pid, "--leaks", "--json").stdout)
    forgotten = [group for group in report["leaks"] if group["kind"] == "text"]
    assert [group["size_class"] for group in forgotten] == [224]
    assert 9_990 <= forgotten[0]["blocks"] <= 10_000  # an old word on the stack may still hide one
    assert sum(group["blocks"] for group in report["leaks"]) <= 10_010
    done = heapwright("inspect", running.pid, "--leaks")
    assert "leaks: nothing points to" in done.stdout
    assert "in 10,000 of text" in done.stdout or "in 9,99" in done.stdout


def test_python_leaks_next_to_nothing(python, heapwright):
    running = python("threads.py", PYTHONMALLOC="malloc")
    report = json.loads(heapwright("inspect", running.pid, "--leaks", "--json").stdout)
    assert sum(group["bytes"] for group in report["leaks"]) < 0.01 * report["parts"]["live"]


REGISTER = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
static void __attribute__((noinline)) forget(int deep)
{
    char *volatile old[50];
    for (int i = 0; i < 50; i++)
        old[i] = memset(malloc(3000), 'x', 3000); /* their addresses stay below the end of the stack */
    if (deep)
        forget(deep - 1);
}
int main(void)
{
    forget(4);
    unsigned long hidden = ~(unsigned long)memset(malloc(7000), 'y', 7000);
    forget(3); /* and over what malloc left on the stack */
    puts("ready");
    fflush(stdout);
    __asm__ volatile("add $256, %%rsp; mov %0, %%r15; not %%r15;" /* the red zone lies over main's own frame */
                     "xor %%ebx, %%ebx; xor %%ebp, %%ebp; xor %%r12d, %%r12d; xor %%r13d, %%r13d;"
                     "xor %%r14d, %%r14d; 1: mov $34, %%eax; syscall; jmp 1b" ::"r"(hidden)); /* pause */
    return 0;
}
"""


def test_a_register_is_a_root_and_what_old_calls_left_behind_is_none(program, compiled, heapwright):
    running = paused(program(compiled("register.c", REGISTER)))
    look = inspect(running.pid, Options(data=True))
    assert texts(look) == {3072: 450}
    [(thread, registers)] = look.registers.items()
    assert thread == running.pid
    look.registers = {thread: tuple(word if index == 19 else 0 for index, word in enumerate(registers))}
    assert texts(look) == {3072: 450, 7168: 1}  # but for the end of its stack
    look.registers = {}
    assert sum(texts(look).values()) < 450


def paused(running):
    """A program that has come to its last call: until then, more registers lead to blocks."""
    pause = "34 "
    until = time.monotonic() + 60
    while not Path(f"/proc/{running.pid}/syscall").read_text().startswith(pause):
        assert time.monotonic() < until
        time.sleep(0.01)
    return running


def texts(look):
    """The blocks of text that nothing leads to, by class of sizes."""
    return {group.size_class: group.blocks for group in leaked(look, look.data) if group.kind == "text"}


@pytest.mark.skipif(not shutil.which("gcore"), reason="gcore is not installed (Debian: gdb)")
def test_a_core_has_registers_too(program, compiled, heapwright, tmp_path):
    running = paused(program(compiled("register.c", REGISTER)))
    subprocess.run(["gcore", "-o", tmp_path / "core", str(running.pid)], capture_output=True, check=True, cwd=tmp_path)
    report = json.loads(heapwright("inspect", tmp_path / f"core.{running.pid}", "--leaks", "--json").stdout)
    assert {each["size_class"]: each["blocks"] for each in report["leaks"] if each["kind"] == "text"} == {3072: 450}


@pytest.mark.parametrize("library", ["jemalloc", "ptmalloc"])
def test_leaks_in_other_heaps(library, program, compiled, heapwright):
    """What such a heap has free leads nowhere: the forgotten blocks are found as in glibc's."""
    made = compiled("leak.c")
    command, environment = [made], {}
    if library == "jemalloc":
        environment["LD_PRELOAD"] = "/usr/lib/x86_64-linux-gnu/libjemalloc.so.2"
        if not os.path.exists(environment["LD_PRELOAD"]):
            pytest.skip("libjemalloc2 is not installed")
    else:
        command = [sys.executable, "-m", "heapwright", "run", "-a", library, "--", made]
    running = program(*command, **environment)
    running.ask("more")
    children = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()
    report = json.loads(heapwright("inspect", *(children or [running.pid]), "--leaks", "--json").stdout)
    forgotten = sum(group["blocks"] for group in report["leaks"] if group["kind"] == "text")
    assert 9_900 <= forgotten <= 10_000  # a thread's cache keeps old words
    assert sum(group["blocks"] for group in report["leaks"]) <= forgotten + 20


CHAIN = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
char **anchor;
int main(void)
{
    anchor = malloc(600);
    anchor[3] = malloc(5000);
    strcpy(anchor[3], "the block in question");
    printf("%p %p\n", (void *)anchor[3], (void *)anchor);
    fflush(stdout);
    return getchar();
}
"""


def test_show_tells_of_a_block_and_who_points_to_it(program, compiled, heapwright):
    running = program(compiled("chain.c", CHAIN))
    block, anchor = running.first.split()
    shown = heapwright("inspect", running.pid, "--show", block).stdout
    assert f"a used block at {block} of 5,000 bytes (text), in main arena" in shown
    assert "the block in que" in shown
    assert f"used block at {anchor} (pointers), +24 bytes" in shown or f"used block at {anchor}" in shown
    middle = heapwright("inspect", running.pid, "--show", hex(int(anchor, 16) + 8), "--json").stdout
    facts = json.loads(middle)
    assert facts["block"]["start"] == int(anchor, 16)
    assert any(re.match("anchor in .*-program", pointer["in"]) for pointer in facts["pointers"])
    nowhere = heapwright("inspect", running.pid, "--show", "0x10")
    assert (nowhere.returncode, nowhere.stderr) == (2, "heapwright: nothing is mapped at 0x10\n")


def test_show_tells_of_pythons_small_objects(python, heapwright):
    running = python("arenas.py")
    look = inspect(running.pid)
    blocks = look.python_blocks
    assert (blocks.starts[1:] >= blocks.ends[:-1]).all()
    orders = [int(start) for start in blocks.starts[5000:9000] if kind_at(look, int(start), 64) == "Python Order"]
    facts = json.loads(heapwright("inspect", running.pid, "--show", hex(orders[50] + 20), "--json").stdout)
    block = facts["block"]
    assert (block["start"], block["state"], block["kind"]) == (orders[50], "used", "Python Order")
    assert block["arena"] == "a Python arena" and len(block["neighbours"]) == 2
    assert any("(pointers), +" in each["in"] for each in facts["pointers"])  # the list of those that are left


@pytest.mark.parametrize("library", ["jemalloc", "ptmalloc"])
def test_show_tells_of_a_block_in_other_heaps(library, program, compiled, heapwright):
    made, environment = compiled("chain.c", CHAIN), {}
    command = [sys.executable, "-m", "heapwright", "run", "-a", library, "--", made]
    if library == "jemalloc":
        command, environment = [made], {"LD_PRELOAD": "/usr/lib/x86_64-linux-gnu/libjemalloc.so.2"}
        if not os.path.exists(environment["LD_PRELOAD"]):
            pytest.skip("libjemalloc2 is not installed")
    running = program(*command, **environment)
    block, anchor = (int(word, 16) for word in running.first.split())
    children = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()
    shown = heapwright("inspect", *(children or [running.pid]), "--show", hex(block + 100), "--json")
    facts = json.loads(shown.stdout)
    assert library in facts["block"]["arena"]
    assert facts["block"]["start"] <= block < block + 5000 <= facts["block"]["start"] + facts["block"]["size"]
    assert any(f"used block at {anchor & -16:#x}" in each["in"] for each in facts["pointers"])
