"""Compile the libraries that several tests share, two at a time, so that no test spends its time on another's."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor

from heapwright.allocators import ALLOCATORS
from heapwright.native.library import library_of, replayer_library

VARIANTS = ("ptmalloc[VERSION=236]",)
AT_A_TIME = 2


def main() -> None:
    with ProcessPoolExecutor(AT_A_TIME) as pool:
        recorder, replayer = pool.submit(record_something), pool.submit(replayer_library)
        list(pool.map(library_of, (*ALLOCATORS, *VARIANTS)))
        recorder.result()
        replayer.result()


def record_something() -> None:
    """Compile the recorder, and what reads a recording."""
    with tempfile.TemporaryDirectory() as folder:
        recording = ["record", "--call-sites", "-o", f"{folder}/it.hwt", "--", sys.executable, "-c", "pass"]
        subprocess.run([sys.executable, "-m", "heapwright", *recording], check=True, capture_output=True)


if __name__ == "__main__":
    main()
