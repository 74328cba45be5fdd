"""Wright's large blocks, of more than 32 KiB: runs of tiles, or spares of the thread."""

from __future__ import annotations

from heapwright.allocators.wright import hardened, homes, records, spares, tiles
from heapwright.layout import NULL

MAX_LARGE = tiles.MAX_RUN * records.TILE


def alloc_large(heap, rounded, align):
    count, home = (rounded + records.TILE - 1) >> records.LOG2_TILE, homes.this_home(heap)
    if home and align <= records.TILE:
        spare = spares.take(home, count)
        if spare:
            return records.start_of(spare)
    run = tiles.take_run(heap, count, max(align >> records.LOG2_TILE, 1), records.LARGE_TAG)
    if run and home:
        spares.open_room(home)
    return records.start_of(run) if run else NULL


def dealloc_large(heap, home, run):
    if hardened.IS_HARDENED and home:
        run = spares.wait(heap, home, run)
        if not run:
            return
    if home and spares.is_wanted(home, run):
        spares.put(heap, home, run)
    else:
        tiles.free_run(heap, run)


def resize_large(heap, run, new_size):
    """Resize a large block in place; return whether that was possible."""
    return tiles.resize_run(heap, run, (new_size + records.TILE - 1) >> records.LOG2_TILE)
