"""A look as plain values, which `heapwright inspect --json` prints and later looks are compared with."""

from __future__ import annotations

from typing import Any

from heapwright.allocators.parts.size_classes import size_of_class
from heapwright.live.advice import advice_for
from heapwright.live.diagnosis import diagnose
from heapwright.live.findings import Look
from heapwright.live.parts import HEAP_PARTS, Figures
from heapwright.live.pins import Group

MAX_PINS = 200
TRIM, PURGE = "malloc_trim(0)", 'mallctl("arena.4096.purge")'
UNKNOWN_IN_CORE = ("free_pages", "free_kept", "free_rest", "python_free", "released", "unexplained")


def report_of(look: Look) -> dict[str, Any]:
    """All figures of one look, in bytes."""
    total = look.account.total()
    known = look.source.knows_residency
    facts: dict[str, Any] = {
        "pid": look.source.pid,
        "name": look.source.name,
        "time": look.time,
        "allocator": look.allocator,
        "recognised": look.recognised,
        "foreign": look.foreign,
        "statistics": [dict(vars(each)) for each in look.statistics],
        "libraries": [{"path": heap.library, "version": f"2.{heap.layout.version}"} for heap in look.heaps],
        "resident_bytes": total.resident if known else None,
        "swapped_bytes": total.swapped if known else None,
        "virtual_bytes": total.virtual,
        "parts": parts_of(look),
        "table": {part: figures._asdict() for part, figures in columns_of(look).items()},
        "heap_bytes": heap_total(look, known),
        "returnable_bytes": look.returnable.resident if known else None,
        "returned_by": returned_by(look),
        "returnable_swapped_bytes": look.returnable.swapped if known else None,
        "pins": [group.as_dict() for group in groups_of(look)],
        "arenas": [dict(vars(arena)) for arena in look.arenas],
        "python": python_of(look),
        "mapped_blocks": len(look.mapped),
        "holes": [hole._asdict() for hole in look.holes],
        "sizes": sizes_of(look),
        "damage": [{"address": address, "invariant": rule} for address, rule in look.damage],
        "notes": look.notes,
        "pause": pause_of(look),
        "settings": settings_of(look),
        "leaks": None if look.leaks is None else [group.as_dict() for group in look.leaks],
        "verdict": None,
    }
    found = diagnose(facts)
    said = {"diagnosis": found.word if found else None, "diagnosed_bytes": found.bytes if found else None}
    return {**facts, **said, "advice": advice_for(facts)}


def groups_of(look: Look) -> list[Group]:
    """The groups that hold back the most, and the largest groups."""
    groups = look.tally.groups(look.kinds.names)
    large = sorted(groups, key=lambda group: -group.bytes)[:MAX_PINS]
    return [group for index, group in enumerate(groups) if index < MAX_PINS or group in large]


def parts_of(look: Look) -> dict[str, int | None]:
    """The resident bytes of each part; in a core file, all bytes that it contains."""
    if look.source.knows_residency:
        return {part: figures.resident for part, figures in look.account.parts.items()}
    return {part: None if part in UNKNOWN_IN_CORE else figures.virtual for part, figures in look.account.parts.items()}


def columns_of(look: Look) -> dict[str, Figures]:
    """The columns of the table; None for what a core file does not show."""
    if look.source.knows_residency:
        return look.account.parts
    nothing: Any = None
    return {part: Figures(nothing, nothing, figures.virtual) for part, figures in look.account.parts.items()}


def returned_by(look: Look) -> str | None:
    """The call that gives free pages back in this program; None if it is unknown."""
    if look.allocator == "jemalloc" and look.statistics:
        return PURGE
    return TRIM if look.own or look.allocator == "glibc" else None


def heap_total(look: Look, known: bool) -> int:
    """The bytes of all inspected heaps."""
    column = "resident" if known else "virtual"
    return sum(getattr(look.account.parts[part], column) for part in HEAP_PARTS)


def python_of(look: Look) -> dict[str, Any] | None:
    if look.python is None:
        return None
    return {name: value for name, value in vars(look.python).items() if name != "ranges"}


def sizes_of(look: Look) -> list[dict[str, int]]:
    """Live blocks by size class, the smallest first."""
    return [
        {"size_class": size_of_class(number), "blocks": count, "bytes": total}
        for number, (count, total) in sorted(look.sizes.items())
    ]


def pause_of(look: Look) -> dict[str, Any] | None:
    """The number and length of the pauses; None if there were none."""
    pauses = look.pauses
    if pauses is None or not pauses.count:
        return None
    return {"count": pauses.count, "longest_seconds": pauses.longest, "total_seconds": pauses.total}


def settings_of(look: Look) -> dict[str, int]:
    """The settings of malloc, as far as its record was found."""
    if not look.heaps or not look.heaps[0].parameters:
        return {}
    found = look.heaps[0].parameters
    names = ("trim_threshold", "top_pad", "mmap_threshold", "arena_max", "no_dyn_threshold", "tcache_count")
    return {name: getattr(found, name) for name in names}
