"""What TLSF does with pools, as addresses: `record_pools.py FOLDER` writes tests/allocators/originals/pools/tlsf.txt.

FOLDER has tlsf.c of the commit that tools/record_originals.py names. It is compiled with driver.c, which lies beside
the recording and says what each call means. Kept are the calls, and what each gives: nothing of the source.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from random import Random

from record_originals import FOLDER, ORIGINALS, TLSF_SIZES

SEEDS, STEPS, POOLS = range(1, 7), 300, 6
POOL_SIZES = range(64, 1 << 16, 16)


def program(seed: int) -> Iterator[str]:
    """Random calls as driver.c reads them. Some name a pool that is there already or not at all, or a null block."""
    rng, births = Random(seed), 0
    live: list[int] = []
    for _ in range(STEPS):
        kind, pool = rng.choice("nddwmmmmmmmrrffff"), rng.randrange(POOLS)
        size = rng.choice(TLSF_SIZES[: rng.choice((16, len(TLSF_SIZES)))])
        if kind == "n":
            yield f"n {pool} {rng.choice((rng.choice(POOL_SIZES), rng.choice(POOL_SIZES[:500])))}"
        elif kind in "dw":
            yield f"{kind} {pool} 0"
        elif kind == "m":
            yield f"m 0 {size}"
            live.append(births)
            births += 1
        elif kind in "rf" and live:
            block = rng.choice(live)
            yield f"{kind} {block} {0 if kind == 'f' else size}"
            if kind == "f":
                live.remove(block)


def record(source: Path, work: Path) -> Iterator[str]:
    files = source / "tlsf.c", FOLDER / "pools" / "driver.c"
    subprocess.run(["cc", "-w", "-O1", f"-I{source}", *files, "-o", work / "run"], check=True)
    yield f"# pools of tlsf: {ORIGINALS['tlsf'].origin}; recorded by tools/record_pools.py\n"
    for seed in SEEDS:
        calls = list(program(seed))
        done = subprocess.run([work / "run"], input="\n".join(calls), capture_output=True, text=True, check=True)
        yield f"\nprogram {seed}\n"
        yield from (f"{call} ={given}\n" for call, given in zip(calls, done.stdout.splitlines(), strict=True))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        (FOLDER / "pools" / "tlsf.txt").write_text("".join(record(Path(sys.argv[1]), Path(folder))))
