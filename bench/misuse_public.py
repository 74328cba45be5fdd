"""What comes of the public misuse programs: those of mimalloc-bench's bench/security.

    git clone https://github.com/daanx/mimalloc-bench
    python bench/misuse_public.py mimalloc-bench > bench/results/misuse_public.json
    python bench/misuse_public.py mimalloc-bench other=/path/libother.so     another malloc beside

It builds the programs with the flags of their CMakeLists.txt in a release build, as 116 binaries. Each is run RUNS
times, and the least favourable end counts. 19 of the binaries are left out of the second count: seven show nothing
about a malloc, and twelve are the same program once more, because it does not use the size that it is built for.

check: the malloc ended the program with its line, or by SIGABRT or SIGILL. fault: SIGSEGV, which may be luck.
prevented: the harm did not happen. late: a check, but only after the program had gone on to print NOT_CAUGHT, or at
its end. missed: nobody noticed.

It needs gcc and g++.
"""

from __future__ import annotations

import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from heapwright.native.library import library_of

SPEC = "wright[HARDENED=1]"
SIZES = {"small": "8", "medium": "4096", "large": "256*1024"}
FLAGS = ["-O3", "-DNDEBUG", "-w", "-Wno-free-nonheap-object", "-fno-inline", "-fno-builtin-inline"]
FLAGS += ["-fno-inline-small-functions", "-fno-ipa-pure-const"]
CXX_FLAGS = ["-O3", "-DNDEBUG", "-w", "-std=c++17", "-fsized-deallocation", "-DALLOCATION_SIZE=4096"]
EMPTY = (
    "realloc_reuse",
    "executable_heap",
    "delete_type_size_mismatch",
)  # they show nothing
WITHOUT_SIZE = ("invalid_free", "impossibly_large_malloc")
WITHOUT_SIZE += ("read_zero_size", "read_zero_size_free", "write_zero_size", "write_zero_size_free")
MISSED = b"NOT_CAUGHT"
WORST_FIRST = ("missed", "late", "prevented", "fault", "check")
RUNS, SECONDS = 5, 20


def build(source: Path, folder: Path) -> list[Path]:
    """Compile every program; return them in the order of their names."""
    made = []
    for file in sorted(source.glob("*.c")):
        for name, size in SIZES.items():
            made.append(folder / f"{file.stem}_{name}")
            subprocess.run(["gcc", *FLAGS, f"-DALLOCATION_SIZE={size}", file, "-o", made[-1]], check=True)
    for file in sorted(source.glob("*.cc")):
        made.append(folder / file.stem)
        subprocess.run(["g++", *CXX_FLAGS, file, "-o", made[-1]], check=True)
    return sorted(made)


def is_distinct(program: str) -> bool:
    """Whether a program says something about a malloc that no other one does."""
    name, _, size = program.rpartition("_")
    return name not in EMPTY and program not in EMPTY and (size == "small" or name not in WITHOUT_SIZE)


def end_of(program: Path, library: Path | None) -> tuple[str, str]:
    """The verdict of one run, and the first line on standard error."""
    environment = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    environment |= {"LD_PRELOAD": str(library)} if library else {}
    try:
        done = subprocess.run([program], env=environment, capture_output=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return "missed", "it did not end"
    said = done.stderr.decode(errors="replace").strip().partition("\n")[0]
    return verdict(-done.returncode, MISSED in done.stdout, said), said


def verdict(number: int, was_missed: bool, said: str) -> str:
    if number in (signal.SIGABRT, signal.SIGILL):
        return "late" if was_missed else "check"
    if was_missed:
        return "missed"
    if number in (signal.SIGSEGV, signal.SIGBUS):
        return "fault"
    return "prevented"


def worst_of(program: Path, library: Path | None) -> dict[str, str]:
    """The least favourable of some ends."""
    ends = [end_of(program, library) for _ in range(RUNS)]
    end, said = min(ends, key=lambda each: WORST_FIRST.index(each[0]))
    return {"end": end, "said": said}


def main() -> None:
    source, others = Path(sys.argv[1]) / "bench" / "security", [text.partition("=") for text in sys.argv[2:]]
    mallocs: dict[str, Path | None] = {SPEC: library_of(SPEC), "system": None}
    mallocs |= {name: Path(path) for name, _, path in others}
    with tempfile.TemporaryDirectory() as folder:
        programs = build(source, Path(folder))
        ends: dict[str, Any] = {p.name: {m: worst_of(p, library) for m, library in mallocs.items()} for p in programs}
    counts = {
        group: {m: Counter(ends[p][m]["end"] for p in ends if group == "all" or is_distinct(p)) for m in mallocs}
        for group in ("all", "distinct")
    }
    about = {
        "command": "python bench/misuse_public.py mimalloc-bench",
        "libc": " ".join(platform.libc_ver()),
        "not distinct": [program for program in ends if not is_distinct(program)],
    }
    sys.stdout.write(json.dumps({**about, "counts": counts, "programs": ends}, indent=1) + "\n")


if __name__ == "__main__":
    main()
