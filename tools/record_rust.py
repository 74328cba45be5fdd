"""Run random programs on Rust's collections, and write what each asked for to tests/collections/recorded.

    tools/record_rust.py

It needs rustc, of the version whose collections heapwright's are. The tests compare heapwright's with the recorded runs
where there is no rustc.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[1]
COLLECTIONS = ROOT / "tests" / "collections"
SEEDS, STEPS = range(2), 40  # programs of each collection and types, and operations in one
FLAGS = "--edition", "2021", "-C", "opt-level=0", "-C", "debug-assertions=off"  # no request is optimized away


def main() -> int:
    sys.path.insert(0, str(ROOT / "tests" / "helpers"))
    heads, program = import_module("rust_programs").HEADS, import_module("rust_random").program
    version = f"# {output('rustc', '--version').strip()}; hashbrown {hashbrown()}"
    with TemporaryDirectory() as folder:
        driver = Path(folder) / "driver"
        output("rustc", *FLAGS, str(COLLECTIONS / "rust" / "driver.rs"), "-o", str(driver))
        for kind in sorted({head.split()[0] for head in heads}):
            own = [head for head in heads if head.split()[0] == kind]
            programs = "".join(program(head, seed, STEPS) for head in own for seed in SEEDS)
            path = COLLECTIONS / "recorded" / f"{kind}.txt"
            path.parent.mkdir(exist_ok=True)
            path.write_text(f"{version}\n\n{output(str(driver), given=programs)}")
            sys.stdout.write(f"{path.relative_to(ROOT)}\n")
    return 0


def hashbrown() -> str:
    """The version that Rust's own HashMap is made of: its library names the source."""
    library = Path(output("rustc", "--print", "sysroot").strip(), "lib", "rustlib")
    found = {name for path in library.glob("*/lib/libhashbrown-*.rlib") for name in versions(path.read_bytes())}
    return " ".join(sorted(found)) or "of an unknown version"


def versions(library: bytes) -> Iterator[str]:
    return (found.decode() for found in re.findall(rb"hashbrown-(\d+\.\d+\.\d+)/", library))


def output(*command: str, given: str = "") -> str:
    return subprocess.run(command, input=given, capture_output=True, text=True, check=True).stdout


if __name__ == "__main__":
    sys.exit(main())
