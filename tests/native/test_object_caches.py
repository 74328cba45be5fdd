"""Object caches of a compiled heap: from C, by several threads; and call by call as in the machine."""

from __future__ import annotations

import ctypes
import random
import shutil
import subprocess

import pytest
from native_functions import NativeProgram
from slabs import BYTE, SLAB_MODULE, Objects

from heapwright import allocator
from heapwright.cli.interfaces import header_text
from heapwright.machine import start
from heapwright.native.heap import NativeHeap
from heapwright.native.library import library_of

pytestmark = pytest.mark.long

DISTANCE = 1 << 40  # from the machine's addresses to the region's
FUNCTION = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_long, ctypes.c_long)


# --- from C


@pytest.fixture
def header(tmp_path):
    """The folder of the header of slab."""
    (tmp_path / "heapwright.h").write_bytes(header_text(allocator.load("slab")))
    return tmp_path


def options(folder):
    return "-DHEAPWRIGHT_OPTIONAL", "-Wall", "-Wextra", "-Werror", f"-I{folder}"


def test_a_c_program_with_threads(preloaded, header):
    done = preloaded("slab", "caches", options=options(header))
    assert (done.returncode, done.stdout, done.stderr) == (0, "0\n", "")


def test_a_heap_that_offers_none(preloaded, header):
    done = preloaded("kr", "caches", options=options(header))
    assert (done.returncode, done.stdout) == (3, "no caches\n")


def test_under_a_layer(preloaded, header):
    done = preloaded("counted(slab)", "caches", options=options(header))
    assert (done.returncode, done.stdout, done.stderr) == (0, "0\n", "")


CXX = """
#include "heapwright.h"
#include "heapwright.h"
static int construct(void *object, size_t) { return *static_cast<int *>(object) = 0; }
int main() {
    heapwright_cache *cache = heapwright_cache_create("number", sizeof(int), alignof(int), construct, nullptr);
    heapwright_cache_free(cache, heapwright_cache_alloc(cache));
    return heapwright_cache_destroy(cache) == 0 ? 0 : 1;
}
"""


def test_a_cxx_program(header):
    if shutil.which("g++") is None:
        pytest.skip("g++ is not installed (Debian: apt-get install g++)")
    (header / "caches.cpp").write_text(CXX)
    shutil.copy(library_of("slab"), header / "libheap.so")
    linked = f"-L{header}", "-lheap", f"-Wl,-rpath,{header}"
    subprocess.run(["g++", "-Wall", "-Werror", header / "caches.cpp", "-o", header / "caches", *linked], check=True)
    subprocess.run([header / "caches"], check=True, timeout=30)


# --- as in the machine


class Compiled:
    """A cache of a compiled heap, with the calls of `Objects`."""

    def __init__(self, program, size, align):
        self.log = []
        self.functions = FUNCTION(self.construct), FUNCTION(self.destruct)
        given = [ctypes.cast(function, ctypes.c_void_p).value for function in self.functions]
        self.address = program.call("heapwright_cache_create", 0, size, align, *given)
        self.alloc = lambda: program.call("heapwright_cache_alloc", self.address)
        self.free = lambda address: program.call("heapwright_cache_free", self.address, address)
        self.reap = lambda: program.call("heapwright_cache_reap", self.address)
        self.destroy = lambda: program.call("heapwright_cache_destroy", self.address)

    def construct(self, address, size):
        self.log.append(("construct", address))
        ctypes.memset(address, BYTE, size)
        return 0

    def destruct(self, address, size):
        assert ctypes.string_at(address, size) == bytes([BYTE]) * size
        self.log.append(("destruct", address))
        return 0


@pytest.mark.parametrize(("size", "align"), [(100, 16), (3000, 64), (20_000, 16)])
def test_the_same_calls_give_the_same_objects(size, align):
    """And the same constructions and destructions, in the same order."""
    machine = start(allocator.load("slab"), frames=1 << 16)
    process = machine.process
    room = process.space.mappings.top - process.heap_start
    native = NativeHeap("slab", DISTANCE + process.heap_start, room)
    try:
        here, there = Objects(machine, size, align), Compiled(NativeProgram.over(native), size, align)
        play(random.Random(size), here, there)
        assert [(what, address + DISTANCE) for what, address in here.log] == there.log
        assert {what for what, _ in here.log} == {"construct", "destruct"}
        machine.check()
    finally:
        native.close()


def play(rng, here, there):
    """A story of objects that come and go, in both worlds, with reaps and an end."""
    live = [here.alloc(), here.alloc()]
    assert [there.alloc(), there.alloc()] == [address + DISTANCE for address in live]
    for step in range(1500):
        if rng.random() < (0.6 if step // 250 % 2 == 0 else 0.3) or len(live) == 2:
            live.append(here.alloc())
            assert live[-1] + DISTANCE == there.alloc()
        else:
            address = live.pop(rng.randrange(len(live)))
            here.free(address)
            there.free(address + DISTANCE)
        if step % 200 == 199:
            assert here.reap() == there.reap()
    assert here.destroy() == there.destroy() == len(live) > 0
    for address in live:
        here.free(address)
        there.free(address + DISTANCE)
    assert here.destroy() == there.destroy() == 0


def test_each_function_belongs_to_the_dialects_interface():
    from heapwright.dialect.source import INTERFACE

    for export, arity in allocator.load("slab").interface.EXPORTS:
        name = export.removeprefix("heapwright_")
        code = getattr(SLAB_MODULE, name).__code__
        assert INTERFACE[name] == code.co_varnames[: code.co_argcount] and len(INTERFACE[name]) == arity + 1
