"""What originals do, as addresses: `record_originals.py NAME FOLDER` writes tests/allocators/originals/NAME.txt.

FOLDER has the original's source, of the commit that ORIGINALS names. It is compiled with driver.c, which lies beside
the recordings, and serves random programs from one range of memory. Kept are the calls, and where their blocks lie:
facts of behaviour, and nothing of the source.

`ptmalloc` needs no FOLDER: the original is the malloc of a computer with glibc 2.36.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import NamedTuple

FOLDER = Path("tests", "allocators", "originals")
SEEDS, STEPS, SMALL, PHASE = range(1, 6), 500, 16, 100


class Original(NamedTuple):
    origin: str
    file: str
    options: tuple[str, ...]
    kinds: str  # of calls that the driver makes
    sizes: tuple[int, ...]  # in ascending order
    max_live: int = 60
    is_bursty: bool = False  # mostly small blocks, and phases in which most calls allocate or free


def is_searched_alike(size: int) -> bool:
    """Whether TLSF 3.1 looks for a block of this size where our `tlsf` does.

    3.1 leaves out the list of the request itself from 256 bytes on, unless it has one size. Our sizes are 8 mod 16, so
    the list of 520 bytes has one size, and that of 1032 no smaller one: each block there fits, and ours looks there.
    """
    return size < 512 or (size >= 1024 and (size - 8) % (1 << size.bit_length() - 6) != 0)


XV6 = "-ffreestanding", "-Dmalloc=original_malloc", "-Dfree=original_free", "-Dsbrk=original_sbrk"
SIZES = (*range(5000), *range(5000, 60_000, 100))
FAST_SIZES = tuple(range(24, 72, 3))  # in few sizes of chunks, so that caches fill up
GLIBC_SIZES = (*FAST_SIZES, *range(72, 5000, 8), *range(5000, 80_000, 500), *range(80_000, 700_000, 1500))
TLSF_SIZES = tuple(filter(is_searched_alike, range(24, 3000, 16)))
ORIGINALS = {
    "kr": Original("github.com/mit-pdos/xv6-riscv f5b93ef", "user/umalloc.c", XV6, "mf", SIZES),
    "dlmalloc": Original(
        "2.8.6, github.com/colorer/dlmalloc 26851dc", "dlmalloc.c", ("-DUSE_DL_PREFIX",), "mfra", SIZES
    ),
    "tlsf": Original("3.1, github.com/mattconte/tlsf deff9ab", "tlsf.c", (), "mfr", TLSF_SIZES),
    "ptmalloc": Original("glibc 2.36-9+deb12u14", "malloc.c", (), "mmffrrcat", GLIBC_SIZES, 250, is_bursty=True),
}


def program(original: Original, seed: int, steps: int = STEPS) -> Iterator[str]:
    """Random calls as driver.c reads them. Aligned blocks keep their size: dlmalloc forgets their alignment."""
    rng, births = Random(seed), 0
    live: list[tuple[str, int]] = []
    reaches = *[SMALL] * (4 if original.is_bursty else 1), len(original.sizes) // 2, len(original.sizes)
    for step in range(steps):
        kind = rng.choice(original.kinds + ("mf"[step // PHASE % 2] * 12 if original.is_bursty else "fm" * 2))
        size = rng.choice(original.sizes[: rng.choice(reaches)])
        plain = [number for kind_at_birth, number in live if kind_at_birth != "a"]
        if kind == "f" and live:
            yield f"f {live.pop(rng.randrange(len(live)))[1]} 0"
        elif kind == "r" and plain:
            yield f"r {rng.choice(plain)} {size}"
        elif kind == "t" and step % 5 == 0:
            yield f"t {rng.choice((0, 20_000, 200_000))} 0"
        elif kind in "mac" and len(live) < original.max_live:
            yield f"a {1 << rng.randrange(5, 13)} {size}" if kind == "a" else f"{kind} 0 {size}"
            live.append((kind, births))
            births += 1


def record(name: str, source: Path, work: Path) -> Iterator[str]:
    """The lines of a recording: each call, and the offset of its block behind it."""
    original = ORIGINALS[name]
    compiler = "cc", "-w", "-O1", "-fno-builtin", f"-I{source}"
    own = [] if name == "ptmalloc" else [work / "original.o"]
    for output in own:
        subprocess.run([*compiler, "-c", source / original.file, *original.options, "-o", output], check=True)
    subprocess.run([*compiler, FOLDER / "driver.c", *own, f"-D{name.upper()}", "-o", work / "run"], check=True)
    yield f"# {name}: {original.origin}, {original.file}; recorded by tools/record_originals.py\n"
    for seed in SEEDS:
        calls = list(program(original, seed))
        done = subprocess.run([work / "run"], input="\n".join(calls), capture_output=True, text=True, check=True)
        offsets = iter(done.stdout.split())
        yield f"\nprogram {seed}\n"
        yield from (f"{call}\n" if call[0] == "f" else f"{call} = {next(offsets)}\n" for call in calls)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        lines = "".join(record(sys.argv[1], Path(*sys.argv[2:3]), Path(folder)))
    (FOLDER / f"{sys.argv[1]}.txt").write_text(lines)
