"""How many pages size classes strand: a model of wright's slabs, for other tiles and other steps of the classes.

    python bench/stranded.py -o bench/results/stranded.json [TRACE...]

A heap of slabs touches a page for each page of blocks that a class ever needed at once, and a page with one live block
stays. Fine classes waste little inside a block, but there are more of them. This model replays recordings on slabs and
counts the pages that are touched at the worst moment. It has no lists of threads: those make no difference to speak of
(docs/why-wright.md). Without TRACE, it records short runs of the programs below.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import geometric_mean
from typing import Any

from heapwright.errors import UserError
from heapwright.files import check_output
from heapwright.traces import events as e
from heapwright.traces.format import read

PAGE = 4096
LARGEST = 1 << 15  # of the small blocks; larger ones take whole tiles
RESERVE = 1 << 19  # bytes that stay resident though they are free
TILES = (1 << 12, 1 << 13, 1 << 14, 1 << 15, 1 << 16)
CLASSES = ((16, 1 << 10), (8, 1 << 10), (8, 1 << 9), (4, 1 << 8))  # to a doubling, above blocks of so many bytes
TODAY = "16384 8 1024"
ROWS = "with recursive x(i) as (select 1 union all select i + 1 from x where i < 30000)"
SQL = f"create table t(a, b); {ROWS} insert into t select i, hex(randomblob(i % 60)) from x; create index i on t(b)"
PROGRAMS = {
    "python3": ["python3", "-c", "import json, asyncio, sqlite3"],
    "perl": ["perl", "-e", "for $i (1..60000) { $h{$i * 7919 % 100003} .= 'x' x ($i % 90); delete $h{$i - 500} }"],
    "lua": ["lua5.4", "-e", "local t = {} for i = 1, 200000 do t[i % 30000] = {i, tostring(i)} end"],
    "gawk": [
        "gawk",
        "BEGIN { for (; i < 100000; i++) { a[i % 9999] = a[i % 77] i; if (i % 3 == 0) delete a[i % 777] } }",
    ],
    "sqlite3": ["sqlite3", ":memory:", f"{SQL}; delete from t where a % 3; vacuum"],
    "git": ["git", "log", "--stat", "-n", "100"],
    "jq": ["jq", "-n", "[range(40000) | {a: ., b: tostring}] | map(.b) | add | length"],
}


def rounded(size: int, steps: int, linear: int) -> int:
    """A block's size: a multiple of 16, and above `linear` bytes one of `steps` to a doubling."""
    step = 16 if size <= linear else (1 << ((size - 1).bit_length() - 1)) // steps
    return -(-max(size, 1) // step) * step


def slab_bytes(size: int, tile: int) -> int:
    """The fewest tiles that hold four blocks and leave at most a sixteenth over."""
    room = tile
    while room < 4 * size or 16 * (room % size) > room:
        room += tile
    return room


@dataclass
class Slab:
    size: int  # of a block
    capacity: int  # blocks
    dirty: int  # bytes at its start that were touched before
    free: list[int] = field(default_factory=list)
    carved: int = 0
    live: int = 0
    touched: int = 0  # bytes

    def is_full(self) -> bool:
        return not self.free and self.carved == self.capacity


@dataclass
class Model:
    tile: int
    steps: int
    linear: int
    partial: dict[int, list[Slab]] = field(default_factory=lambda: defaultdict(list))
    resident: int = 0  # bytes
    peak: int = 0
    dirty: int = 0  # free but resident

    def touch(self, size: int) -> None:
        self.resident += size
        self.peak = max(self.peak, self.resident)

    def take_dirty(self, size: int) -> int:
        found = min(self.dirty, size)
        self.dirty -= found
        return found

    def release(self, size: int) -> None:
        self.dirty += size
        if self.dirty > RESERVE:
            self.resident -= self.dirty - RESERVE * 3 // 4
            self.dirty = RESERVE * 3 // 4

    def alloc(self, size: int) -> Slab | int:
        """A block: its slab, or the bytes of a large one."""
        if size > LARGEST:
            whole = -(-size // self.tile) * self.tile
            self.touch(whole - self.take_dirty(whole))
            return whole
        block = rounded(size, self.steps, self.linear)
        slabs = self.partial[block]
        if not slabs:
            room = slab_bytes(block, self.tile)
            slabs.append(Slab(block, room // block, self.take_dirty(room)))
        slab = slabs[-1]
        self.hand_out(slab)
        if slab.is_full():
            slabs.pop()
        return slab

    def hand_out(self, slab: Slab) -> None:
        slab.live += 1
        if slab.free:
            slab.free.pop()
            return
        slab.carved += 1
        pages = -(-slab.carved * slab.size // PAGE) * PAGE
        self.touch(max(pages - max(slab.touched, slab.dirty), 0))
        slab.touched = max(slab.touched, pages)

    def dealloc(self, block: Slab | int) -> None:
        if isinstance(block, int):
            self.release(block)
            return
        if block.is_full():
            self.partial[block.size].append(block)
        block.free.append(0)
        block.live -= 1
        if block.live == 0:
            self.partial[block.size].remove(block)
            self.release(max(block.touched, block.dirty))


def requests_of(trace: Path) -> list[tuple[int, int, int]]:
    """The calls of the process with the highest peak: operation, block, size."""
    process = read(trace).largest
    events = process.events
    kept = (events.flags & e.FAILED == 0) & (events.block != e.NONE)
    return list(zip(events.op[kept].tolist(), events.block[kept].tolist(), events.size[kept].tolist(), strict=True))


def peak_of(requests: list[tuple[int, int, int]], tile: int, steps: int, linear: int) -> int:
    """The resident bytes of the model at its worst moment."""
    model, blocks = Model(tile, steps, linear), dict[int, Slab | int]()
    for op, block, size in requests:
        old = blocks.pop(block, None)
        if op != e.DEALLOC:
            blocks[block] = model.alloc(size)
        if old is not None:
            model.dealloc(old)
    return model.peak


def record(folder: Path) -> list[Path]:
    """Recordings of the programs that are installed."""
    for name, command in PROGRAMS.items():
        done = subprocess.run(
            [sys.executable, "-m", "heapwright", "record", "-o", folder / f"{name}.hwt", "--", *command],
            capture_output=True,
            check=False,
        )
        sys.stderr.write(f"{name}: {'recorded' if done.returncode == 0 else 'left out'}\n")
    return sorted(folder.glob("*.hwt"))


def measure(traces: list[Path]) -> dict[str, Any]:
    cells = [(tile, *classes) for tile in TILES for classes in CLASSES]
    rows: dict[str, dict[str, int]] = {}
    for trace in traces:
        requests = requests_of(trace)
        rows[trace.stem] = {" ".join(map(str, cell)): peak_of(requests, *cell) for cell in cells}
        sys.stderr.write(f"{trace.stem}: {len(requests):,} requests\n")
    means = {
        cell: round(geometric_mean(row[cell] / row[TODAY] for row in rows.values()), 3)
        for cell in next(iter(rows.values()), {})
    }
    return {"means": means, "peaks": rows}


def measured(traces: list[Path]) -> dict[str, Any]:
    """The results for these recordings, or for new ones."""
    with tempfile.TemporaryDirectory() as folder:
        return measure(traces or record(Path(folder)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("traces", nargs="*", type=Path)
    parser.add_argument("-o", required=True, type=Path, help="the results, as JSON")
    arguments = parser.parse_args()
    try:
        check_output(arguments.o)
        result = measured(arguments.traces)
    except UserError as error:
        sys.exit(f"stranded.py: {error}")
    about = {"command": "python bench/stranded.py", "date": datetime.now(UTC).isoformat(timespec="seconds")}
    arguments.o.write_text(json.dumps(about | result, indent=1) + "\n")


if __name__ == "__main__":
    main()
