"""Compile the libraries that several tests share, two at a time, so that no test spends its time on another's."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor

from heapwright.allocators import ALLOCATORS
from heapwright.native.library import address_logger_library, holder_library, library_of, replayer_library

VARIANTS = ("wright[MESHED=1]", "ptmalloc[VERSION=236]", "guarded[RATE=1,RIGHT=100](kr)")
AT_A_TIME = 2


def main() -> None:
    with ProcessPoolExecutor(AT_A_TIME) as pool:
        recorders = [pool.submit(record_something, option) for option in ("--call-sites", "--sample=512K")]
        tools = [pool.submit(each) for each in (replayer_library, address_logger_library, holder_library)]
        list(pool.map(library_of, (*ALLOCATORS, *VARIANTS)))
        for recorder in recorders:
            recorder.result()
        for tool in tools:
            tool.result()


def record_something(option: str) -> None:
    """Compile a recorder, and what reads a recording."""
    with tempfile.TemporaryDirectory() as folder:
        recording = ["record", option, "-o", f"{folder}/it.hwt", "--", sys.executable, "-c", "pass"]
        subprocess.run([sys.executable, "-m", "heapwright", *recording], check=True, capture_output=True)


if __name__ == "__main__":
    main()
