"""The loops over all events of a plan, compiled. They are plain Python, too, and tests run them interpreted.

`cut` cuts the recording into sections, so that threads may run ahead of each other without more memory being live
than was recorded. The state of a replay is known by how far each thread is. If all events before `first` are done and
none from `end` on, then live memory is at most

    live before `first`  +  for each thread, the largest sum of its first changes between `first` and `end`

because each thread does its own events in order. A section is as long as this bound exceeds the highest recorded
live memory in it by at most half of what is allowed. Two neighbours may be done at the same time if the bound of
both together exceeds the highest of both by no more than the whole.

`follow` gives each event its slot and finds the critical path: the longest chain of events that wait for each other.
"""

from __future__ import annotations

from heapwright.layout import Struct, Word

BEGINS, DIES, SHARED, ENDS = 1, 2, 4, 8  # flags of a row: its block starts, dies, changes hands; its thread ends
NOTHING = -1
LINE = 8  # slots in a cache line


class Row(Struct):
    """One event. What the passes find out is below the line."""

    thread: Word
    change: Word  # of live bytes
    block: Word  # or NOTHING
    flags: Word
    source: Word  # the event of another thread that it waits for, because of its block; or NOTHING
    # ---
    section: Word
    slot: Word
    depth: Word  # events in the longest chain that ends here
    held: Word  # the same, if sections count


class Track(Struct):
    """One thread, as far as a pass has come."""

    starter: Word  # the thread that starts it; NOTHING for the first
    window: Word  # the number of the scan that the next two belong to
    total: Word  # bytes, the sum of its changes in the scan
    most: Word  # the largest such sum so far
    depth: Word
    held: Word
    has_begun: Word
    empty: Word  # the slot that was emptied last, plus 1
    next: Word  # the next slot of its cache line


class Section(Struct):
    """Events that lie side by side in the recording."""

    first: Word
    needs: Word  # all sections before this one are done before a thread may begin
    ceiling: Word  # the highest recorded live bytes here and in what may be done at the same time
    depth: Word  # of the longest chain, sections included, before its first event


class Number(Struct):
    value: Word


class Work(Struct):
    """What a pass reads and leaves."""

    rows: Word  # addresses
    tracks: Word
    sections: Word
    places: Word  # of blocks: their slots
    links: Word  # of slots: the one that was emptied before, plus 1
    events: Word
    peak: Word  # events until the most bytes are live: a section ends there, and nothing runs across
    width: Word  # the most events in a section
    part: Word  # live memory may exceed the recorded curve by this part of it: 100 for 1 %
    # ---
    count: Word  # of sections
    scans: Word
    live: Word  # bytes, at the end of the last scan as recorded
    top: Word  # the highest recorded in it
    lines: Word  # of slots
    ended: Word  # the longest chain that ends with a thread
    ended_held: Word
    depth: Word  # the critical path
    held: Word


def row_at(work, index):
    """An event by its number."""
    return Row(work.memory, work.rows + index * Row.SIZE)


def track_of(work, thread):
    """A thread by its number."""
    return Track(work.memory, work.tracks + thread * Track.SIZE)


def section_at(work, index):
    """A section by its number."""
    return Section(work.memory, work.sections + index * Section.SIZE)


# --- sections


def cut(work):
    """Cut the recording into sections."""
    first, live, before = 0, 0, 0
    while first < work.events:
        end = scan(work, first, limit(work, first), live, 2 * work.part)
        after, number = work.live, work.count
        section = section_at(work, number)
        section.first = first
        section.needs = number
        section.ceiling = work.top
        if number > 0 and first != work.peak:
            share(work, number, before, end)
        mark(work, first, end, number)
        work.count += 1
        first, before, live = end, live, after


def limit(work, first):
    """The farthest end of a section."""
    end = min(first + work.width, work.events)
    return min(end, work.peak) if first < work.peak else end


def share(work, number, live, end):
    """Let a section be done at the same time as the one before it, if their bound allows. `live` is what is live
    before that one."""
    before = section_at(work, number - 1)
    if scan(work, before.first, end, live, work.part) == end:
        section_at(work, number).needs = number - 1
        before.ceiling = max(before.ceiling, work.top)


def mark(work, first, end, number):
    """Write the number of their section to its events."""
    for i in range(first, end):
        row_at(work, i).section = number


def scan(work, first, end, live, part):
    """Go on from an event until the bound exceeds the curve by more than a part of it, or to the end.

    Returns where it stopped, which is at least one event further.
    """
    work.scans += 1
    work.top, bound = live, live
    for i in range(first, end):
        row = row_at(work, i)
        bound += rise(work, track_of(work, row.thread), row.change)
        top = max(work.top, live + row.change)
        if i > first and bound - top > top // part:
            work.live = live
            return i
        live += row.change
        work.top = top
    work.live = live
    return end


def rise(work, track, change):
    """Add a change to a thread's sum. Returns how far its largest sum rises."""
    if track.window != work.scans:
        track.window, track.total, track.most = work.scans, 0, 0
    track.total += change
    higher = max(0, track.total - track.most)
    track.most += higher
    return higher


# --- slots and chains


def follow(work):
    """Give each event its slot, and find the critical path."""
    for i in range(work.events):
        row = row_at(work, i)
        track = track_of(work, row.thread)
        if row.block != NOTHING:
            place(work, row, track)
        if track.has_begun == 0:
            begin(work, track)
        chain(work, row, track, i)
        if row.flags & ENDS:
            work.ended = max(work.ended, row.depth)
            work.ended_held = max(work.ended_held, row.held)


def place(work, row, track):
    """Find the slot of an event's block. The slot of a block that stays in its thread is used again there."""
    cell = Number(work.memory, work.places + row.block * Number.SIZE)
    if row.flags & BEGINS:
        cell.value = take(work, track)
    row.slot = cell.value
    if row.flags & (DIES | SHARED) == DIES:
        Number(work.memory, work.links + row.slot * Number.SIZE).value = track.empty
        track.empty = row.slot + 1


def take(work, track):
    """A thread's empty slot: the last one emptied, or one of a cache line in which only its own blocks begin."""
    if track.empty != 0:
        slot = track.empty - 1
        track.empty = Number(work.memory, work.links + slot * Number.SIZE).value
        return slot
    if track.next % LINE == 0:
        track.next = work.lines * LINE
        work.lines += 1
    track.next += 1
    return track.next - 1


def begin(work, track):
    """A thread starts after what its starter has done, and after the threads that have ended by then."""
    track.has_begun = 1
    if track.starter != NOTHING:
        starter = track_of(work, track.starter)
        starter.depth = track.depth = max(starter.depth, work.ended)
        starter.held = track.held = max(starter.held, work.ended_held)


def chain(work, row, track, i):
    """The longest chains that end with an event."""
    section = section_at(work, row.section)
    if section.first == i:
        section.depth = work.held
    held = max(track.held, section_at(work, section.needs).depth)
    depth = track.depth
    if row.source != NOTHING:
        source = row_at(work, row.source)
        depth, held = max(depth, source.depth), max(held, source.held)
    row.depth = track.depth = depth + 1
    row.held = track.held = held + 1
    work.depth = max(work.depth, row.depth)
    work.held = max(work.held, row.held)


COMPILED = {"cut": ((Work,), False), "follow": ((Work,), False)}
