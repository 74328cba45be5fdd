"""Add up the spans of a heap of ours, by its own `walk`. Written in the dialect over `inner`, like the C face."""

from __future__ import annotations

from heapwright.bits import align_down, align_up
from heapwright.layers import inner
from heapwright.native.jobs.curves_job import SIZES, SQUARES
from heapwright.native.runtime.linux import PAGE
from heapwright.spans import CACHED, FREE, OWN, UNUSED, USED

Heap = inner.Heap


def count_parts(heap, job, parts, nothing):
    """Fill in the parts of all extents of a job. Returns 0, as C functions return a word."""
    for i in range(job.extents):
        count_extent(heap, job, parts, job.extent[i])
    return 0


def count_extent(heap, job, parts, extent):
    """Add the spans of one extent. Free spans that touch make whole pages together."""
    place = free_from = extent.start
    for start, size, kind in inner.walk(heap, extent.start, extent.end):
        if start != place or size <= 0:
            break
        if kind in (FREE, UNUSED):
            count_free(job, parts, size)
        else:
            parts.free_pages += whole_pages(free_from, place)
            free_from = place + size
            count_held(parts, size, kind)
        place += size
    parts.free_pages += whole_pages(free_from, place)
    if place != extent.end and parts.broken == 0:
        parts.broken = place


def count_held(parts, size, kind):
    """Add a span that is not free."""
    if kind == USED:
        parts.used += size
    elif kind == CACHED:
        parts.cached += size
    elif kind == OWN:
        parts.own += size


def count_free(job, parts, size):
    """Add a free span, and what of it could serve requests of the job's sizes."""
    parts.free += size
    parts.largest_free = max(parts.largest_free, size)
    parts.squares += (size // SQUARES) * (size // SQUARES)
    for i in range(SIZES):
        parts.suitable[i] += size // job.sizes[i] * job.sizes[i]


def whole_pages(start, end):
    """The bytes of whole pages in a range."""
    return max(0, align_down(end, PAGE) - align_up(start, PAGE))
