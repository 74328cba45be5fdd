"""Advice on a program's memory. Each piece of advice states its figure; the largest gain comes first."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

MIB = 1 << 20
WORTH = 4 * MIB  # less is not worth a change
SHARE = 0.05  # of the resident set
DEFAULT_THRESHOLD = 128 << 10
LARGEST_DEFAULT = 32 << 20


def advice_for(facts: dict[str, Any]) -> list[str]:
    """Advice on one look, from the figures of its report."""
    if facts["resident_bytes"] is None:
        return []
    found = [each for rule in RULES for each in rule(facts)]
    return [text for gain, text in sorted(found, key=lambda each: -each[0]) if is_worth(gain, facts)]


def is_worth(gain: int, facts: dict[str, Any]) -> bool:
    return bool(gain >= WORTH and gain >= SHARE * facts["resident_bytes"])


Advice = Iterator[tuple[int, str]]


def on_trim(facts: dict[str, Any]) -> Advice:
    gain, call = facts["returnable_bytes"], facts["returned_by"]
    if call:
        yield gain, f"call {call}, once or from a timer: it would give back {mib(gain)} now"


def on_decay(facts: dict[str, Any]) -> Advice:
    gain = facts["returnable_bytes"]
    if facts["allocator"] == "jemalloc":
        yield (
            gain - 1,
            f"MALLOC_CONF=dirty_decay_ms:1000,muzzy_decay_ms:0: {mib(gain)} wait for jemalloc to return them",
        )


def on_arenas(facts: dict[str, Any]) -> Advice:
    others = [arena for arena in facts["arenas"] if not arena["is_main"]]
    free = sum(arena["resident_free_bytes"] for arena in others)
    if len(others) >= 2:
        yield free, f"MALLOC_ARENA_MAX=2: {len(others)} arenas of threads hold {mib(free)} free, beside the main one"


def on_tops(facts: dict[str, Any]) -> Advice:
    has_others = any(not arena["is_main"] for arena in facts["arenas"])
    kept = facts["parts"]["free_kept"] if has_others else 0
    yield (
        kept,
        f"MALLOC_ARENA_MAX=1: {mib(kept)} are free at the ends of threads' arenas, where malloc_trim leaves them",
    )


def on_pins(facts: dict[str, Any]) -> Advice:
    pinned = facts["parts"]["free_rest"]
    groups = [group for group in facts["pins"] if group["pinned_bytes"] > 0]
    if groups:
        first = groups[0]
        what = f"{first['blocks']:,} blocks of {first['kind']}, up to {first['size_class']:,} bytes"
        yield (
            pinned,
            f"{mib(pinned)} are free but pinned, most by {what}: free these, or try another malloc",
        )


def on_threshold(facts: dict[str, Any]) -> Advice:
    threshold = facts["settings"].get("mmap_threshold", 0)
    large = sum(each["bytes"] for each in facts["sizes"] if each["size_class"] > DEFAULT_THRESHOLD)
    free = facts["parts"]["free_pages"] + facts["parts"]["free_rest"]
    if DEFAULT_THRESHOLD < threshold <= LARGEST_DEFAULT and large:
        text = f"MALLOC_MMAP_THRESHOLD_={DEFAULT_THRESHOLD}: it has risen to {threshold:,}"
        yield min(large, free), f"{text}, so {mib(large)} of large blocks lie among small ones"


def on_cache(facts: dict[str, Any]) -> Advice:
    cached = facts["parts"]["cached"]
    yield cached, f"GLIBC_TUNABLES=glibc.malloc.tcache_count=2: threads' caches hold {mib(cached)}"


def on_python(facts: dict[str, Any]) -> Advice:
    free, python = facts["parts"]["python_free"], facts["python"]
    groups = [group["kind"] for group in facts["pins"] if group["kind"].startswith("Python ")]
    if python and groups:
        text = (
            f"{mib(free)} are free in {python['arenas']:,} Python arenas of 1 MiB, each kept by the objects left in it"
        )
        yield (
            free,
            f"{text}, most of them {groups[0].removeprefix('Python ')}: free these, or do the work in a child process",
        )


def on_swap(facts: dict[str, Any]) -> Advice:
    gone = facts["returnable_swapped_bytes"]
    if facts["returned_by"]:
        yield gone, f"{facts['returned_by']} would also give back {mib(gone)} of swap"


RULES = (on_trim, on_decay, on_arenas, on_tops, on_pins, on_threshold, on_cache, on_python, on_swap)


def mib(size: int) -> str:
    return f"{size / MIB:,.1f} MiB"
