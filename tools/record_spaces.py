"""What dlmalloc's spaces do, as addresses: `record_spaces.py FOLDER` writes dlmalloc.txt in originals/spaces.

FOLDER has dlmalloc.c of the commit that tools/record_originals.py names. It is compiled with driver.c, which lies
beside the recording and says what each call means. Kept are the calls, and what each gives: nothing of the source.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from record_originals import FOLDER, ORIGINALS
from space_calls import LIMITS, Program

SEEDS, UNLENT = range(1, 8), 7  # the last program lends no memory
DECLARED = "#include <stddef.h>\nvoid *original_mmap(size_t);\nint original_munmap(void *, size_t);\n"
OPTIONS = [
    *("-DUSE_DL_PREFIX", "-DMSPACES=1", "-DMALLOC_INSPECT_ALL=1", "-DHAVE_MREMAP=0"),
    *("-DMMAP=original_mmap", "-DDIRECT_MMAP=original_mmap", "-DMUNMAP=original_munmap"),
]


def record(source: Path, work: Path) -> Iterator[str]:
    (work / "declared.h").write_text(DECLARED)
    compiler = "cc", "-w", "-O1", "-include", str(work / "declared.h"), *OPTIONS
    subprocess.run([*compiler, source / "dlmalloc.c", FOLDER / "spaces" / "driver.c", "-o", work / "run"], check=True)
    programs = [list(Program(seed, lends=seed != UNLENT).calls()) for seed in SEEDS]
    yield f"# spaces of dlmalloc: {ORIGINALS['dlmalloc'].origin}; recorded by tools/record_spaces.py\n"
    for number, calls in enumerate((LIMITS, *programs)):
        done = subprocess.run([work / "run"], input="\n".join(calls), capture_output=True, text=True, check=True)
        yield f"\nprogram {number}\n"
        yield from (f"{call} ={given}\n" for call, given in zip(calls, done.stdout.splitlines(), strict=True))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        (FOLDER / "spaces" / "dlmalloc.txt").write_text("".join(record(Path(sys.argv[1]), Path(folder))))
