"""Address for address as the originals: recorded runs of xv6's umalloc, of dlmalloc, of TLSF and of glibc 2.36.

tools/record_originals.py made them. A recording has random calls, and the offset of each block from the start of the
original's memory. Ours begin at the start of the heap. Not among the calls is what ours do otherwise on purpose:

* `kr` cuts aligned blocks and resizes them, which umalloc.c does not.
* Resized blocks of `dlmalloc` keep their alignment.
* `tlsf` looks for a size in its own list where each block there fits; it takes more pools when the first one is full.

`tests/native/test_glibc_236.py` compares longer runs with the C library of the computer, if that is glibc 2.36.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from heapwright.allocator import load
from heapwright.machine import start
from heapwright.options import M_MXFAST

ORIGINALS = Path(__file__).parent / "originals"
RECORDINGS = {path.stem: path.read_text().split("\n\n")[1:] for path in sorted(ORIGINALS.glob("*.txt"))}
DESIGNS = {name: load({"ptmalloc": "ptmalloc[VERSION=236]"}.get(name, name)) for name in RECORDINGS}
PROGRAMS = [
    pytest.param(name, text, id=f"{name}-{n}") for name, all_ in RECORDINGS.items() for n, text in enumerate(all_)
]


def replayed(name, lines, mxfast=None):
    """The same lines, as ours answers them."""
    heap, blocks = start(DESIGNS.get(name) or load(name), frames=1 << 13), []
    if mxfast is not None:
        heap.process.settings[M_MXFAST] = mxfast
    for line in lines:
        call, which, size = line.partition(" = ")[0].split()
        number = int(which)
        if call == "f":
            heap.dealloc(blocks[number])
            yield line
            continue
        if call == "t":
            heap.trim(number)
            yield f"{line.partition(' = ')[0]} = 0"
            continue
        if call == "r":
            blocks[number] = block = heap.realloc(blocks[number], int(size))
        elif call == "c":
            blocks.append(block := heap.alloc_zeroed(int(size)))
        else:
            blocks.append(block := heap.alloc(int(size), number or 16))
        yield f"{call} {which} {size} = {offset_of(heap, block)}"
    heap.check()


def offset_of(heap, block):
    """As driver.c prints it: from the start of the heap, or -1 for a mapping."""
    return block - heap.process.heap_start if block <= heap.process.brk else -1


@pytest.mark.parametrize(("name", "text"), PROGRAMS)
def test_each_block_lies_where_the_original_put_it(name, text):
    _, *lines = text.splitlines()
    assert list(replayed(name, lines)) == lines


def test_the_recordings_have_every_kind_of_call():
    kinds = {
        name: {line[0] for text in programs for line in text.splitlines()[1:]} for name, programs in RECORDINGS.items()
    }
    assert kinds == {"dlmalloc": set("mafr"), "kr": set("mf"), "tlsf": set("mfr"), "ptmalloc": set("macfrt")}
    assert all(len(programs) == 5 and min(map(len, programs)) > 4000 for programs in RECORDINGS.values())


def test_the_recordings_of_glibc_reach_its_mappings_and_its_fast_bins():
    texts = RECORDINGS["ptmalloc"]
    assert all(" = -1\n" in text for text in texts)
    _, *lines = texts[0].splitlines()
    assert list(replayed("ptmalloc", lines, mxfast=0)) != lines


def test_another_policy_is_another_trace():
    """The comparison can fail: one allocator's recording is none of another's."""
    _, *lines = RECORDINGS["kr"][0].splitlines()
    assert list(replayed("linked_list", lines)) != lines
