"""A program that is linked with another malloc: what the recorder serves is not asked of that malloc."""

from __future__ import annotations

import subprocess

import pytest

from heapwright.traces.importers import open_trace

pytestmark = pytest.mark.long

LIBRARY = r"""
#include <stddef.h>
static char room[1 << 20];
static size_t used;
void *malloc(size_t size) {
    char *block = room + used;
    used += (size + 15) & -16UL;
    return used <= sizeof room ? block : NULL;
}
void free(void *block) {}
void *calloc(size_t count, size_t size) { return malloc(count * size); }
void *realloc(void *block, size_t size) { return block ? NULL : malloc(size); }
size_t malloc_usable_size(void *block) {
    char *place = block;
    if (place && (place < room || place >= room + sizeof room)) __builtin_trap();
    return 16;
}
"""
PROGRAM = r"""
#include <malloc.h>
#include <stdlib.h>
int main(void) {
    size_t usable = malloc_usable_size(malloc(1000)), mapped = malloc_usable_size(malloc(1 << 20));
    void *aligned = memalign(4096, 5000);
    return !(usable >= 1000 && usable < 1100 && mapped >= 1 << 20 && malloc_usable_size(aligned) >= 5000
             && malloc_usable_size(NULL) == 0);
}
"""


@pytest.fixture
def linked(compiled):
    library = compiled(LIBRARY, "-shared", "-fPIC")
    program = compiled(PROGRAM, "-Wl,--no-as-needed", library, f"-Wl,-rpath,{library.parent}")
    assert subprocess.run([program], check=False).returncode == 1, "that malloc serves it, and says 16"
    return program


@pytest.mark.parametrize("command", [("record", "-o", "x.hwt"), ("run", "-a", "system", "--stats")])
def test_a_usable_size_is_that_of_the_malloc_that_serves(heapwright, linked, tmp_path, command):
    done = heapwright(*command, "--", linked, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    if command[0] == "record":
        assert {1000, 1 << 20, 5000} <= set(open_trace(tmp_path / "x.hwt").events.size.tolist())
