"""Thread stacks, and the pages that guard them."""

from __future__ import annotations

import os

import pytest

from heapwright.lab.inspect import inspect
from heapwright.live.process import Process

STACKS = """
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
enum { SIZE = 1 << 20, THREADS = 5 };
static pthread_barrier_t barrier;
static void *work(void *argument) { char used[200000]; memset(used, 1, sizeof used); pthread_barrier_wait(&barrier);
                                    pause(); return argument; }
int main(void)
{
    char *stacks = mmap(NULL, THREADS * SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    pthread_barrier_init(&barrier, NULL, THREADS + 1);
    for (int i = 0; i < THREADS; i++) {
        pthread_t thread;
        pthread_attr_t attributes;
        pthread_attr_init(&attributes);
        pthread_attr_setstack(&attributes, stacks + i * SIZE, SIZE);
        pthread_create(&thread, &attributes, work, NULL);
    }
    pthread_barrier_wait(&barrier);
    puts("ready");
    fflush(stdout);
    return getchar();
}
"""


def test_stacks_side_by_side_in_one_mapping_are_all_found(program, compiled):
    look = inspect(program(compiled("stacks.c", STACKS, "-pthread")).pid)
    assert [end - start for start, end in look.stacks] == [1 << 20] * 5


GUARDED = """
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
int main(void)
{
    char *pages = mmap(NULL, 64 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(pages, 1, 32 * 4096);
    puts(madvise(pages + 32 * 4096, 4 * 4096, 102) ? "no guards" : "ready"); /* MADV_GUARD_INSTALL */
    fflush(stdout);
    return getchar();
}
"""


def test_guard_pages_are_not_swapped(program, compiled):
    running = program(compiled("guarded.c", GUARDED))
    if running.first != "ready\n":
        pytest.skip("this kernel makes no guard pages (Linux 6.13)")
    if tuple(map(int, os.uname().release.split(".")[:2])) < (6, 15):
        pytest.skip("this kernel does not tell guard pages (Linux 6.15)")
    source = Process(running.pid)
    guarded = [
        source.pages(mapping.start, mapping.end)
        for mapping in source.mappings
        if mapping.is_private_data and mapping.size > 1 << 17
    ]
    assert any(pages.present.sum() >= 32 for pages in guarded)
    assert not any(pages.swapped.any() for pages in guarded)
