"""What one look says about a program's memory: mostly live, or freed and kept, or pinned, and where.

Over time a verdict says more (`verdict`): a leak and a large program look the same at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from heapwright.live.verdict import told

LIVE = ("live", "mapped", "python_used")
FREED = {"retention": ("free_pages", "free_kept"), "fragmentation": ("free_rest",), "pinned arenas": ("python_free",)}
REST = {
    "caches": ("cached",),
    "another allocator": ("foreign_heap",),
    "stacks": ("stacks",),
    "program": ("program",),
    "files": ("files",),
    "mappings": ("other",),
}
REPORTED = {
    "live": ("live_bytes",),
    "caches": ("cached_bytes",),
    "fragmentation": ("free_bytes",),
    "retention": ("kept_bytes",),
}
LEAK_SHARE = 0.1  # of the live bytes: what nothing points to is worth the word


class Diagnosis(NamedTuple):
    """The word, and the resident bytes that it stands for."""

    word: str
    bytes: int


def diagnose(facts: dict[str, Any]) -> Diagnosis | None:
    """What most of the resident set is; None where nobody can know, as in a core file."""
    if facts["resident_bytes"] is None:
        return None
    leaked = sum(group["bytes"] for group in facts["leaks"] or [])
    live = total(facts, LIVE)
    if leaked > LEAK_SHARE * live:
        return Diagnosis("leak", leaked)
    return max(candidates(facts), key=lambda each: each.bytes)


def candidates(facts: dict[str, Any]) -> Iterator[Diagnosis]:
    """What the resident set is made of. Freed memory counts as one, and has the word of its largest part."""
    known = reported(facts)
    freed = {word: total(facts, parts) + known.get(word, 0) for word, parts in FREED.items()}
    yield Diagnosis("live", total(facts, LIVE) + known["live"])
    yield Diagnosis(max(freed, key=lambda word: freed[word]), sum(freed.values()))
    for word, parts in REST.items():
        yield Diagnosis(word, total(facts, parts) + known.get(word, 0))


def reported(facts: dict[str, Any]) -> dict[str, int]:
    """What other allocators report of their memory. Free memory counts as far as it can be resident."""
    rest, found = total(facts, REST["another allocator"]), {}
    for word, figures in REPORTED.items():
        found[word] = min(told(facts, figures), rest)
        rest -= found[word]
    return {**found, "another allocator": -sum(found.values())}


def total(facts: dict[str, Any], parts: tuple[str, ...]) -> int:
    return sum(facts["parts"][part] for part in parts)
