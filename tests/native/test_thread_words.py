"""Thread-local words: a process has about 1.6 KiB for those of all libraries that it loads late, and heaps need little.

Source: glibc, the tunable rtld.optional_static_tls and elf/dl-reloc.c.
"""

import shutil
import subprocess
import sys

import pytest
from call_graph import output_of

from heapwright.allocators import ALLOCATORS
from heapwright.native.library import library_of, sampler_library

WORDS, SAMPLERS_WORDS = 8, 11
MANY_COPIES = 40
OPEN_THEM = """
import sys
from heapwright.errors import UserError
from heapwright.native.heap import NativeHeap
from pathlib import Path
heaps = []
try:
    for path in sys.argv[1:]:
        heaps.append(NativeHeap("kr", size=1 << 20, library=Path(path)))
        assert heaps[-1].alloc(24, 16)
except UserError as error:
    print(error)
print(len(heaps))
"""


def thread_words(library):
    segments = [line.split() for line in output_of("readelf", "-lW", library).splitlines() if " TLS " in line]
    return int(segments[0][5], 16) // 8


@pytest.mark.skipif(shutil.which("readelf") is None, reason="readelf (binutils) is not installed")
@pytest.mark.parametrize("spec", ALLOCATORS)
def test_a_heap_has_eight_words_in_each_thread(spec):
    assert thread_words(library_of(spec)) == WORDS


@pytest.mark.skipif(shutil.which("readelf") is None, reason="readelf (binutils) is not installed")
def test_only_a_library_whose_layer_asks_for_more_has_more():
    assert thread_words(sampler_library()) == SAMPLERS_WORDS


@pytest.mark.long
def test_a_process_opens_twenty_heaps_and_is_told_when_no_more_fit(tmp_path):
    copies = [shutil.copy(library_of("kr"), tmp_path / f"{number}.so") for number in range(MANY_COPIES)]
    done = subprocess.run([sys.executable, "-c", OPEN_THEM, *copies], capture_output=True, text=True, check=True)
    *said, opened = done.stdout.splitlines()
    assert 20 <= int(opened) < MANY_COPIES
    assert said == [
        "this process has no room for the thread-local words of one more compiled heap: start it in a new process"
    ]
