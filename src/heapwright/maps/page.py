"""The page of `compare`: each malloc's heap as a map of addresses and time, side by side.

The largest placements are in the page singly, as many as it has room for. The rest is there as cells, so that a map
shows all memory in any case. What is the same for each malloc (sizes, lifetimes, who asked) is in the page once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from heapwright.html.page import MAX_BYTES, Kind, assemble, steps_of
from heapwright.maps.follow import HeapMap
from heapwright.maps.placements import Placements
from heapwright.maps.raster import COVER, LIFE, SIZE, Raster
from heapwright.maps.subject import Subject
from heapwright.traces.arrays import I64, np

MAPS = Kind(
    "compare",
    Path(__file__).with_name("web"),
    ("data.js", "colours.js", "view.js", "pointing.js", "curves.js", "main.js"),
    "Made by <code>heapwright compare --html</code>. Sizes are requested bytes.",
)
REST_ROWS, REST_COLUMNS = 512, 512  # cells of what is not there singly
MOMENTS = 1024  # of the curve of live bytes, and of times
LEVELS = 255  # of a share
STEPS = 8  # of a logarithm
NAMED = 1000  # functions at most


def make_page(
    title: str, facts: str, subject: Subject, maps: Sequence[HeapMap], parts: Mapping[str, dict[str, Any]] | None = None
) -> str:
    """The page about one process on some mallocs, below MAX_BYTES: with as many single blocks as there is room for.

    `parts` has, by the malloc's name, the columns of its curves: what `lab.curves.columns.Curves.columns` gives.
    """
    curves = [(parts or {}).get(each.name) for each in maps]
    limit, cells = max(len(each.kept) for each in maps), REST_ROWS
    while True:
        data = data_of(subject, maps, limit, cells)
        data["maps"] = [each | {"parts": known} for each, known in zip(data["maps"], curves, strict=True)]
        page = assemble(MAPS, title, {"facts": facts, **data})
        if len(page.encode()) <= MAX_BYTES or limit <= 1:
            return page
        limit, cells = limit // 2, max(64, cells * 3 // 4)


def data_of(subject: Subject, maps: Sequence[HeapMap], limit: int, cells: int) -> dict[str, Any]:
    """What the page knows, with at most `limit` single blocks of each map."""
    chosen = [each.kept.largest(limit) for each in maps]
    blocks, names = blocks_of(chosen, subject)
    flat = subject.flat
    return {
        "events": len(flat),
        "peak": flat.peak,
        "live": highest(flat.live, MOMENTS).tolist(),
        "times": moments(subject.times).tolist(),
        "threads": subject.threads,
        "sites": names,
        "blocks": columns_of(blocks),
        "maps": [map_data(each, kept, blocks, cells) for each, kept in zip(maps, chosen, strict=True)],
    }


def blocks_of(chosen: Sequence[Placements], subject: Subject) -> tuple[Placements, list[str]]:
    """The placements of all maps by their start, each once, and names for their sites: the largest site is 0."""
    every = Placements.join(chosen)
    _, first = np.unique(every.start, return_index=True)
    blocks = every[first]
    by_site = np.bincount(blocks.site + 1, blocks.surface, len(subject.names) + 1)[1:]
    order = np.argsort(-by_site, kind="stable")[:NAMED]
    rank = np.full(len(subject.names) + 1, -1)
    rank[order] = np.arange(len(order))
    blocks.rows["site"] = rank[blocks.site]  # the last is for none
    return blocks, [subject.names[number] for number in order.tolist() if by_site[number]]


def columns_of(blocks: Placements) -> dict[str, list[int]]:
    """The columns that all maps share."""
    return {
        "start": np.diff(blocks.start, prepend=0).tolist(),
        "length": (blocks.end - blocks.start).tolist(),
        "age": (blocks.start - blocks.born).tolist(),
        "size": blocks.size.tolist(),
        "thread": blocks.thread.tolist(),
        "site": blocks.site.tolist(),
    }


def map_data(each: HeapMap, kept: Placements, blocks: Placements, cells: int) -> dict[str, Any]:
    """One malloc's map. A place is an offset in the rows, which leave out the addresses that were never used."""
    raster, factor = each.raster, max(1, -(-len(each.raster) // cells))
    unit, places = places_of(raster, kept)
    known = np.full(len(blocks), -1)
    known[np.searchsorted(blocks.start, kept.start)] = places
    return {
        "name": each.name,
        "shift": raster.shift,
        "chunks": np.diff(raster.chunks, prepend=0).tolist(),
        "first": raster.first.tolist(),
        "columns": raster.columns,
        "width": raster.width,
        "unit": unit,
        "places": np.diff(known, prepend=0).tolist(),
        "placements": each.placements,
        "rest": rest_data(each, kept, factor) if len(kept) < each.placements else None,
        "stops": each.stops,
        "resident": steps_of(shares(each.resident, factor, factor << raster.shift)),
        "factor": factor,
        "touched": each.touched,
        "resident_bytes": each.resident_bytes,
        "hole": each.hole and {**each.hole._asdict(), "place": place_of(raster, each.hole.start)},
        "failures": len(each.failures),
        "failure": each.failures[0]._asdict() if each.failures else None,
    }


def places_of(raster: Raster, kept: Placements) -> tuple[int, I64]:
    """The place of each placement, in the largest unit that measures all of them."""
    places = (raster.row_of(kept.address >> raster.shift) << raster.shift) + (kept.address & (1 << raster.shift) - 1)
    unit = int(np.gcd.reduce(places)) or 1
    return unit, places // unit


def place_of(raster: Raster, address: int) -> int:
    row = int(raster.row_of(np.array([address >> raster.shift]))[0])
    return (row << raster.shift) + (address & (1 << raster.shift) - 1)


def rest_data(each: HeapMap, kept: Placements, factor: int) -> dict[str, Any]:
    """The cells of the placements that the page has not singly: their share, and the means of two logarithms."""
    single = Raster(each.raster.width * each.raster.columns, each.raster.shift)
    single.adopt_rows(each.raster)
    single.add(kept)
    step = max(1, -(-each.raster.columns // REST_COLUMNS))
    cover, size, life = (
        coarse(each.raster.channel(which) - single.channel(which), factor, step) for which in (COVER, SIZE, LIFE)
    )
    shown = cover > 0.5 / LEVELS
    cover = np.where(shown, cover, 0)
    means = (np.where(shown, whole / np.where(shown, cover, 1), 0) for whole in (size, life))
    return {
        "step": step,
        "cover": steps_of(np.rint(cover * LEVELS).astype(np.int64)),
        **{
            name: steps_of(np.rint(mean * STEPS).astype(np.int64))
            for name, mean in zip(("size", "life"), means, strict=True)
        },
    }


def coarse(matrix: Any, rows: int, columns: int) -> Any:
    """The means of groups of cells; those at the edges may have fewer."""
    down = np.add.reduceat(matrix, np.arange(0, matrix.shape[0], rows), axis=0)
    whole = np.add.reduceat(down, np.arange(0, matrix.shape[1], columns), axis=1)
    return whole / (rows * columns)


def shares(resident: Any, rows: int, room: int) -> I64:
    """The resident share of groups of rows, each with room for so many bytes, at each stop."""
    grouped: I64 = np.add.reduceat(resident, np.arange(0, len(resident), rows), axis=0)
    return np.rint(grouped / room * LEVELS).astype(np.int64)


def highest(values: I64, count: int) -> I64:
    """The highest value in each of at most `count` parts of equal length."""
    if not len(values):
        return values
    width = -(-len(values) // count)
    found: I64 = np.maximum.reduceat(values, np.arange(0, len(values), width))
    return found


def moments(times: I64) -> I64:
    """The time of some events at equal distances, the first and the last among them; none without times."""
    if not len(times):
        return times
    return times[np.linspace(0, len(times) - 1, min(len(times), MOMENTS)).astype(np.int64)]
