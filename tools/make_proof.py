"""Make the tables of docs/proof.md from what docs/proof keeps. The named allocators (or all) are measured before."""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

from heapwright.allocators import ALLOCATORS
from heapwright.conformance.proof import Judged, measured
from heapwright.errors import UserError

KEPT, PAGE = Path("docs", "proof"), Path("docs", "proof.md")
JUDGED = KEPT / "judged.toml"
MADE = re.compile(r"(<!-- (\w+): made by tools/make_proof.py -->\n).*?(?=<!-- end -->)", re.S)


def problems(root: Path) -> list[str]:
    return [] if (root / PAGE).read_text() == page(root) else [f"{PAGE} is not current: run tools/make_proof.py"]


def measure(root: Path, spec: str, moment: dict[str, str]) -> None:
    found = moment | measured(spec, Judged.read(root / JUDGED))
    (root / KEPT / f"{spec}.json").write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")


def stamp(root: Path) -> dict[str, str]:
    """The day, and the commit that is measured, with `-dirty` if the files differ from it."""
    command = "git", "-C", str(root), "describe", "--always", "--dirty", "--exclude=*"
    commit = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    return {"date": date.today().isoformat(), "commit": commit}


def page(root: Path) -> str:
    kept = {name: json.loads((root / KEPT / f"{name}.json").read_text()) for name in ALLOCATORS}
    for name, share in Judged.read(root / JUDGED).min_killed.items():
        kept[name]["share"] = f"{share:.0%}"
    tables = {each.__name__: each for each in (runs, sequences, schedules, invariants, mutants)}
    return MADE.sub(lambda found: found[1] + "".join(tables[found[2]](kept)), (root / PAGE).read_text())


def runs(kept: dict[str, Any]) -> Iterator[str]:
    return table(("allocator", "measured on", "commit"), {n: [kept[n]["date"], kept[n]["commit"]] for n in kept})


def sequences(kept: dict[str, Any]) -> Iterator[str]:
    head = "allocator", "depth", "sequences", "states", "depth, two sizes", "sequences", "states"
    told = {name: [*each["resizing"].values()][:3] + [*each["two_sizes"].values()][:3] for name, each in kept.items()}
    return table(head, told)


def schedules(kept: dict[str, Any]) -> Iterator[str]:
    head = "allocator", "cases", "all with one preemption", "all with two", "schedules tried for that", "random ones"
    return table(head, {name: [*each["interleavings"].values()] for name, each in kept.items()})


def mutants(kept: dict[str, Any]) -> Iterator[str]:
    head = "allocator", "tried", "killed", "judged as good", "killed or judged, at least"
    return table(head, {n: [*(each.get("mutants", {}).values() or "–––"), each["share"]] for n, each in kept.items()})


def table(head: tuple[str, ...], rows: dict[str, list[Any]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |\n|{'---|' * len(head)}\n"
    for name, cells in rows.items():
        yield f"| `{name}` | {' | '.join(f'{cell:,}' if type(cell) is int else cell for cell in cells)} |\n"


def invariants(kept: dict[str, Any]) -> Iterator[str]:
    yield "```text\n"
    for name, each in kept.items():
        texts = (re.sub("`(.{36})[^`]*`", r"`\1…`", found) for found in each["invariants"].values())
        yield "".join(f"{name:<18} {text}\n" for text in texts)
    yield "```\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="an allocator, or all")
    parser.add_argument("--check", action="store_true", help="only say whether the page is current")
    arguments, root = parser.parse_args(), Path(__file__).resolve().parent.parent
    if arguments.check:
        sys.exit("\n".join(problems(root)) or 0)
    moment = stamp(root)
    try:
        for name in ALLOCATORS if "all" in arguments.names else arguments.names:
            measure(root, name, moment)
    except UserError as error:
        parser.error(str(error))
    (root / PAGE).write_text(page(root))


if __name__ == "__main__":
    main()
