"""Wright's spares: the large blocks that a thread freed last, for its next requests of their sizes.

      home -> spares | freed last | freed before that |
                         |               |
                         v               v
                     large run       large run

The page heap takes a lock, searches bits and counts pages for each large block. A program that needs a buffer for a
moment, again and again, takes it from here instead. A spare still counts as a taken run of tiles, and its record says
that nobody uses it.

Only the home's own thread touches its spares. Like a list it has room, which a request opens that no spare could serve:
so one block in sixteen goes back to the page heap, which then looks after its reserve. When the home gives up what it
does not need, the spares go and the room ends. A crowd of threads does without, because many threads with some spares
each would hold much.

In a hardened heap, the large block that a thread freed last waits until the next one is freed, whatever their sizes.
Its first bytes are cleared meanwhile, and nobody may have written to them.
"""

from __future__ import annotations

from heapwright.allocators.wright import hardened, homes, records, seals, tiles
from heapwright.allocators.wright.records import Record
from heapwright.layout import NULL

MAX_TILES = 8  # of a spare
ROOM = 16  # blocks that may become spares until a request finds none


def take(home, count):
    """Take a spare of exactly `count` tiles; null if there is none."""
    for i in range(homes.SPARES):
        run = home.spares[i]
        if run and run.tiles == count:
            home.spares[i] = run.at(NULL)
            run.state = records.UNUSED
            run.is_fresh = 0
            return run
    return Record(home.memory, NULL)


def open_room(home):
    """Let the next large blocks become spares, after the page heap had to serve a request."""
    home.spare_room = ROOM if home.rank < homes.CROWD else 0


def is_wanted(home, run):
    """Whether a home keeps a large block that its thread frees."""
    return home.spare_room > 0 and run.tiles <= MAX_TILES


def put(heap, home, run):
    """Keep a large block. If there is no place, the one that was freed first goes back to the page heap."""
    oldest = run.at(NULL)
    home.spare_room -= 1
    if home.spares[0]:
        oldest = home.spares[1]
        home.spares[1] = home.spares[0]
    run.state = records.SPARE
    home.spares[0] = run
    if oldest:
        tiles.free_run(heap, oldest)


def wait(heap, home, run):
    """Let a large block wait in a hardened heap; return the one that has waited, or null."""
    waited = home.waiting_large[0]
    seals.clear_start(heap.memory, records.start_of(run))
    run.state = records.SPARE
    home.waiting_large[0] = run
    if waited:
        seals.require_clear_start(heap, records.start_of(waited))
        waited.state = records.UNUSED
    return waited


def give_up(heap, home):
    """Give all spares back to the page heap, and keep none for now."""
    home.spare_room = 0
    if hardened.IS_HARDENED and home.waiting_large[0]:
        seals.require_clear_start(heap, records.start_of(home.waiting_large[0]))
        tiles.free_run(heap, home.waiting_large[0])
        home.waiting_large[0] = home.waiting_large[0].at(NULL)
    for i in range(homes.SPARES):
        run = home.spares[i]
        home.spares[i] = run.at(NULL)
        if run:
            tiles.free_run(heap, run)


# --- for `lists` and `check` only


def of(home):
    return [run for run in (home.spares[i] for i in range(homes.SPARES)) if run]


def waiting_in(home):
    return [home.waiting_large[0]] if hardened.IS_HARDENED and home.waiting_large[0] else []


def are_complete(all_homes, runs):
    """Whether the homes have all large runs in no use, each once, and no spare is too large."""
    kept, waiting = ([run for home in all_homes for run in found(home)] for found in (of, waiting_in))
    unused = [run.address for run in runs if records.is_spare(run)]
    return sorted(run.address for run in kept + waiting) == unused and all(run.tiles <= MAX_TILES for run in kept)
