"""What mallocs keep resident after a heap was drained to a tenth, without malloc_trim.

    python bench/gives_back.py wright=libwright.so jemalloc=libjemalloc.so.2 -o bench/results/gives_back.json

A library is a path, or a name that the loader finds; the C library's malloc is always measured. The scenarios are those
of tests/native/programs/drains.c. The figures are KiB, the least of three runs each. It needs a C compiler.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

SOURCE = Path(__file__).parent.parent / "tests" / "native" / "programs" / "drains.c"
SCENARIOS = "alone", "idle", "handed", "forked", "swings"
SIZES = (160, 16, 200), (160, 16, 1000), (160, 100, 20_000)  # MiB, least and most bytes of a block
RUNS = 3


def measured(program: Path, library: str, scenario: str, sizes: tuple[int, ...]) -> dict[str, int]:
    """The run with the least resident memory."""
    preload = str(Path(library).resolve()) if "/" in library else library
    environment, command = {**os.environ, "LD_PRELOAD": preload}, [str(program), scenario, *map(str, sizes)]
    runs = [subprocess.run(command, env=environment, capture_output=True, text=True, check=True) for _ in range(RUNS)]
    resident, live = min(tuple(map(int, run.stdout.split())) for run in runs)
    return {"resident": resident, "live": live}


def main() -> None:
    parser = argparse.ArgumentParser(description="What mallocs keep resident after a drain.")
    parser.add_argument("mallocs", nargs="*", metavar="NAME=LIBRARY")
    parser.add_argument("-o", "--output", type=Path, required=True, help="the JSON file to write")
    options = parser.parse_args()
    mallocs = {"system": "libc.so.6"} | dict(each.split("=", 1) for each in options.mallocs)
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "drains"
        subprocess.run(["cc", "-O1", "-fno-builtin", "-pthread", SOURCE, "-o", program], check=True)
        for scenario in SCENARIOS:
            for sizes in SIZES:
                found = {name: measured(program, library, scenario, sizes) for name, library in mallocs.items()}
                rows[f"{scenario}, blocks of {sizes[1]} to {sizes[2]} bytes"] = found
    facts = {"command": sys.argv, "date": datetime.now(UTC).isoformat(timespec="seconds")}
    facts["libc"] = " ".join(platform.libc_ver())
    options.output.write_text(json.dumps(facts | {"rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
