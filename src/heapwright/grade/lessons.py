"""What a student learns from a trace: where the heap's bytes were at its peak, and why it grew to it.

The grader knows the live blocks and nothing of the heap's own records. Bytes between two live blocks are beside them if
they are fewer than the smallest free block that could lie there, otherwise they are a hole.
"""

from __future__ import annotations

from dataclasses import dataclass

from heapwright.grade.judge import Figures, Growth
from heapwright.grade.player import REGION_START
from heapwright.wording import counted, share

SMALLEST_HOLE = 32  # bytes


@dataclass(frozen=True)
class Places:
    """Where the bytes of a heap were at its peak."""

    payload: int
    beside: int  # headers and rounding, in gaps too small for a block
    holes: tuple[int, ...]  # the sizes of the larger gaps
    rest: int  # above the highest block below the break, mappings and memory elsewhere


def places(growth: Growth) -> Places:
    payload = sum(end - start for start, end in growth.blocks)
    small = sum(gap for gap in gaps_between(growth.blocks, growth.break_bytes) if gap < SMALLEST_HOLE)
    holes = holes_in(growth.blocks, growth.break_bytes)
    return Places(payload, small, holes, max(0, growth.heap_bytes - payload - small - sum(holes)))


def holes_in(blocks: list[tuple[int, int]], break_bytes: int) -> tuple[int, ...]:
    """The sizes of the gaps that could hold a block, the largest first."""
    return tuple(sorted((gap for gap in gaps_between(blocks, break_bytes) if gap >= SMALLEST_HOLE), reverse=True))


def gaps_between(blocks: list[tuple[int, int]], break_bytes: int) -> list[int]:
    """The bytes between neighbours, from the start of the heap on. Between the break and the mappings is no heap."""
    top = REGION_START + break_bytes
    ends = [REGION_START, *(end for _, end in blocks)]
    return [start - end for end, (start, _) in zip(ends, blocks, strict=False) if start < top or end > top]


def lessons(figures: Figures) -> list[str]:
    """Sentences about a trace's utilization."""
    growth = figures.growth
    if growth.request is None:
        return []
    found = places(growth)
    lines = [
        f"{growth.request}, request {growth.number:,}, takes the heap to its peak of {growth.heap_bytes:,} bytes",
        why_it_grew(growth.request.size, holes_in(growth.before, growth.break_bytes)),
        where_it_is(growth, found),
    ]
    if figures.elsewhere:
        lines.append(f"{figures.elsewhere:,} bytes of private memory outside the heap count as heap")
    return lines


def why_it_grew(size: int, holes: tuple[int, ...]) -> str:
    """Whether there was room for the request, in one hole, in several, or not at all."""
    held = f"{sum(holes):,} bytes in {counted(len(holes), 'holes')}"
    if sum(holes) < size:
        return f"there was no room for it below the highest block: {held}"
    if holes[0] >= size + SMALLEST_HOLE:
        return f"a hole of {holes[0]:,} bytes was large enough: does the search miss it, or was it not merged?"
    return f"{held} were free, but the largest has {holes[0]:,}: the free memory is in pieces"


def where_it_is(growth: Growth, found: Places) -> str:
    parts = {
        "in live blocks": found.payload,
        "beside them (headers and rounding)": found.beside,
        "in holes": sum(found.holes),
        "above them": found.rest,
    }
    text = ", ".join(f"{share(count, growth.heap_bytes)} {where}" for where, count in parts.items() if count)
    return f"of its bytes, {text}"
