"""The tables of docs/proof.md, from what docs/proof keeps: `make_proof.py`; with `--check`, whether they are current.

`make_proof.py hoard slab` measures anew, three minutes for each, and keeps what was reached; `make_proof.py all`, all.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from heapwright.allocators import ALLOCATORS
from heapwright.conformance import Subject
from heapwright.conformance.corruption import find_corruptions
from heapwright.conformance.exhaustive import DEPTH, RESIZING, SECONDS, TWO_SIZES, explore
from heapwright.conformance.interleavings import ONE, TWO, try_all

KEPT, PAGE = Path("docs", "proof"), Path("docs", "proof.md")
CORRUPTION_SECONDS = 60
MADE = re.compile(r"(<!-- (\w+): made by tools/make_proof.py -->\n).*?(?=<!-- end -->)", re.S)


def problems(root: Path) -> list[str]:
    return [] if (root / PAGE).read_text() == page(root) else [f"{PAGE} is not current: run tools/make_proof.py"]


# --- measuring


def measure(root: Path, spec: str) -> None:
    (root / KEPT).mkdir(exist_ok=True)
    (root / KEPT / f"{spec}.json").write_text(json.dumps(measured(spec), indent=1) + "\n")


def measured(spec: str) -> dict[str, Any]:
    """What the bounded checks reach, and what makes each invariant's assert fire."""
    subject = Subject(spec, is_quick=False)
    tally = try_all(subject)
    return {
        "resizing": explore(subject, RESIZING, DEPTH, SECONDS)._asdict(),
        "two_sizes": explore(subject, TWO_SIZES, DEPTH, SECONDS)._asdict(),
        "interleavings": {
            "cases": tally.cases,
            "one": tally.exhausted[ONE],
            "two": tally.exhausted[TWO],
            "schedules": tally.schedules,
            "random": tally.random,
        },
        "invariants": {name: str(found or "") for name, found in find_corruptions(subject, CORRUPTION_SECONDS).items()},
    }


# --- the page


def page(root: Path) -> str:
    kept = {name: json.loads((root / KEPT / f"{name}.json").read_text()) for name in ALLOCATORS}
    tables = {"sequences": sequences, "schedules": schedules, "invariants": invariants}
    return MADE.sub(lambda found: found[1] + "".join(tables[found[2]](kept)), (root / PAGE).read_text())


def sequences(kept: dict[str, Any]) -> Iterator[str]:
    head = "allocator", "depth", "sequences", "states", "depth, two sizes", "sequences", "states"
    told = {name: [*each["resizing"].values()][:3] + [*each["two_sizes"].values()][:3] for name, each in kept.items()}
    return table(head, told)


def schedules(kept: dict[str, Any]) -> Iterator[str]:
    head = "allocator", "cases", "all with one preemption", "all with two", "schedules tried for that", "random ones"
    return table(head, {name: [*each["interleavings"].values()] for name, each in kept.items()})


def table(head: tuple[str, ...], rows: dict[str, list[int]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |\n|{'---|' * len(head)}\n"
    for name, numbers in rows.items():
        yield f"| `{name}` | {' | '.join(f'{number:,}' for number in numbers)} |\n"


def invariants(kept: dict[str, Any]) -> Iterator[str]:
    yield "```text\n"
    for name, each in kept.items():
        texts = (re.sub("`(.{36})[^`]*`", r"`\1…`", found) for found in each["invariants"].values())
        yield "".join(f"{name:<18} {text}\n" for text in texts)
    yield "```\n"


if __name__ == "__main__":
    repository = Path(__file__).resolve().parent.parent
    if "--check" in sys.argv:
        sys.exit("\n".join(problems(repository)) or 0)
    for name in ALLOCATORS if "all" in sys.argv else sys.argv[1:]:
        measure(repository, name)
    (repository / PAGE).write_text(page(repository))
