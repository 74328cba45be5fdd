"""Run every way of misuse.c and copies.c under some mallocs, and print what came of each.

    python examples/misuse/table.py                                    heapwright's, the C library's and installed peers
    python examples/misuse/table.py 'wright[HARDENED=1]' system        these
    python examples/misuse/table.py other=/path/libother.so            a library
    python examples/misuse/table.py --json > bench/results/misuse.json the raw results, for the page docs/hardened.md

A check ended the program with a line or with SIGABRT or SIGILL; a fault ended it with SIGSEGV or SIGBUS, which may be
luck. "prevented": the harm did not happen. "-": nobody noticed. It needs a C compiler.
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
from typing import Any, NamedTuple

from heapwright.errors import UserError
from heapwright.lab.machine_facts import PEERS, installed_peers
from heapwright.native.library import library_of

SOURCES = [Path(__file__).with_name(name) for name in ("misuse.c", "copies.c")]
OURS = ("wright", "wright[HARDENED=1]")
CHECKS = (signal.SIGABRT, signal.SIGILL)
FAULTS = (signal.SIGSEGV, signal.SIGBUS)
SECONDS = 20
EXITS = {0: "prevented", 1: "-"}

Results = dict[str, Any]


class Way(NamedTuple):
    """A way to misuse a heap."""

    name: str
    kind: str
    sentence: str


class Outcome(NamedTuple):
    """What came of a way: a word, and the first line on standard error."""

    verdict: str
    said: str


def build(folder: Path) -> Path:
    """Compile the program."""
    program = folder / "misuse"
    options = ["-O1", "-fno-builtin", "-Wno-free-nonheap-object", "-pthread"]
    subprocess.run(["cc", *options, *SOURCES, "-o", program], check=True)
    return program


def ways(program: Path) -> list[Way]:
    """The ways that the program has."""
    done = subprocess.run([program], capture_output=True, text=True, check=True)
    return [Way(*line.split("\t")) for line in done.stdout.splitlines()]


def outcome(program: Path, way: str, library: Path | None) -> Outcome:
    """Run one way under a malloc: the library of one, or None for the C library's."""
    environment = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    environment |= {"LD_PRELOAD": str(library)} if library else {}
    try:
        done = subprocess.run([program, way], env=environment, capture_output=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return Outcome("hangs", "")
    said = done.stderr.decode(errors="replace").strip().partition("\n")[0]
    return Outcome(verdict(-done.returncode, said), said)


def verdict(number: int, said: str) -> str:
    """The word for an end by a signal, or for an exit status as a negative number."""
    if number in CHECKS or said.startswith("heapwright: "):
        return "check"
    return "fault" if number in FAULTS else EXITS.get(-number, f"ends with {number}")


def libraries(names: list[str]) -> dict[str, Path | None]:
    """The library of each malloc, by its label; None for the C library's."""
    found: dict[str, Path | None] = {}
    for name in names:
        label, equals, path = name.partition("=/")
        found[label if equals else name] = existing(Path("/" + path)) if equals else library_named(name)
    return found


def existing(library: Path) -> Path:
    if not library.is_file():
        raise UserError(f"there is no library {library}")
    return library


def library_named(name: str) -> Path | None:
    if name == "system":
        return None
    if name in PEERS and name not in installed_peers():
        raise UserError(f"{name} is not installed")
    return installed_peers()[name] if name in PEERS else library_of(name)


def measured(mallocs: dict[str, Path | None]) -> Results:
    """Run every way under every malloc."""
    with tempfile.TemporaryDirectory() as folder:
        program = build(Path(folder))
        found = ways(program)
        return {
            "command": "python examples/misuse/table.py --json",
            "libc": " ".join(platform.libc_ver()),
            "ways": [way._asdict() for way in found],
            "results": {
                name: {way.name: outcome(program, way.name, path)._asdict() for way in found}
                for name, path in mallocs.items()
            },
        }


def table(raw: Results) -> str:
    """The results as a Markdown table, with a last line that counts them."""
    results, before = raw["results"], ""
    lines = ["| class | way | " + " | ".join(results) + " |", "|---" * (len(results) + 2) + "|"]
    for way in (Way(**each) for each in raw["ways"]):
        cells = " | ".join(one[way.name]["verdict"] for one in results.values())
        lines.append(f"| {way.kind if way.kind != before else ''} | {way.sentence} | {cells} |")
        before = way.kind
    counts = [Counter(each["verdict"] for each in one.values()) for one in results.values()]
    cells = " | ".join(f"{c['check']} / {c['fault']} / {c['prevented']} / {c['-']}" for c in counts)
    return "\n".join([*lines, f"| all | check / fault / prevented / - | {cells} |"]) + "\n"


def main() -> None:
    names = [name for name in sys.argv[1:] if name != "--json"]
    try:
        raw = measured(libraries(names or [*OURS, "system", *installed_peers()]))
    except UserError as error:
        sys.exit(f"table.py: {error}")
    sys.stdout.write(json.dumps(raw, indent=1) + "\n" if "--json" in sys.argv else table(raw))


if __name__ == "__main__":
    main()
