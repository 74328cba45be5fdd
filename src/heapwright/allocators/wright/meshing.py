"""Wright's meshing lets pages share a frame if no place is in use in both. The other frame goes back.

    page A   ##..#...  in use                 the pages of a home's waiting slabs, those with the least in use first
    page B   ..#....#  in use                 each is compared with the 32 last pages that fitted nowhere
    frame    ###.#..#

A page counts as in use at each place but those of free blocks on its slab's list. So a slab takes part only while it
waits in its home's list (`awake`): nobody else hands out its blocks, and the lock of the home protects them. Slabs have
one tile and are carved to their end.

A trim meshes all homes. A home that drains meshes itself, at most ten times a second and a fiftieth of the time: where
it would put its lists home, some frees after the last time.

While pages move, nobody may write to them, so all other threads are stopped. That may catch a thread anywhere: also
while it takes a block from a list, frees one, or holds a lock. It makes no difference. What a thread may touch without
the home's lock are blocks that are out of their slabs, and these count as in use: their bytes and their addresses stay.
The lists that meshing changes are those under the lock that it holds. While the others are stopped, it takes no lock.

A forked child shares meshed frames with its parent, and neither may see what the other writes. So the parent copies
each of these frames to a spare one before the fork, and the child's pages lead to the copies. The rest of the child's
memory is of a later moment. A list that another thread changed in between may lead through a copy that does not have
the link. So if there are other threads, the child abandons their homes: it never takes their locks, which stay held.
"""

from __future__ import annotations

from heapwright import bits, locks
from heapwright.allocators.wright import classes, homes, meshes, records, slabs
from heapwright.allocators.wright.meshes import PAGE
from heapwright.allocators.wright.records import Record
from heapwright.layout import NULL, Array, Struct, Word, Word32

PLACE = 16  # bytes
LOG2_PLACE = 4
PLACES = PAGE // PLACE
MAX_PAGES = 1 << 14  # each meshed page may cost two mappings, and a process has 65,530
TRIES = 32
BATCH = 16  # spare frames
PERIOD = 100_000_000  # nanoseconds from a drain or a pass to the next pass, at least
REST = 50  # and so many times as long as the last pass took
STOP = 5_000_000  # nanoseconds for which other threads are stopped, but for the page that moves then
MANY = 1 << 30


class Page(Struct):
    """A page that may be meshed."""

    used: Array[Word32, 8]  # places in use, as bits
    slab: Record
    number: Word
    next: Page


class Table(Struct):
    """The pages of a home, during a pass."""

    lists: Array[Page, 257]  # by the number of places in use
    recent: Array[Page, 32]  # pages that fitted nowhere
    turn: Word
    spare: Word  # frames
    spares: Word
    merged: Word  # pages
    stops: Word  # that may still follow
    stopped: Word  # whether the other threads are stopped
    since: Word  # the clock when they were
    size: Word  # of the table and the pages behind it


# --- a pass


def mesh(heap, home, stops):
    """Mesh the pages of a home's slabs; return the bytes of the frames that went back. The home is locked.

    `stops` is how often the other threads may be stopped for that.
    """
    give_up_waiting(heap, home)
    table = table_for(heap, count_pages(home)) if heap.memory.PAGE == PAGE else Table(heap.memory, NULL)
    if not table:
        return 0
    table.stops = stops
    locks.acquire(heap.memory, heap.meshes.lock)
    enter_pages(heap, home, table)
    place_pages(heap, home, table)
    let_go(heap, table)
    locks.release(heap.memory, heap.meshes.lock)
    merged = table.merged
    if table.spares > 0:
        heap.memory.drop_frames(table.spare, table.spares)
    heap.memory.munmap(table.address, table.size)
    return merged << meshes.LOG2_PAGE


def mesh_after_drain(heap, home):
    """Mesh a home that has put its lists home because it drains, if that goes on for a while. The home is locked."""
    now, due = heap.memory.clock(), heap.meshes.due.load()
    if now >= due and heap.meshes.due.compare_exchange(due, now + PERIOD) and due != 0:
        mesh(heap, home, 1)
        end = heap.memory.clock()
        heap.meshes.due.store(end + PERIOD + REST * (end - now))


# --- the other threads


def holds_others(heap, table):
    """Stop the other threads, unless they are or may not be; return whether they are."""
    if table.stopped == 0 and table.stops > 0:
        if heap.memory.stop_others() == 0:
            table.stopped = 1
            table.since = heap.memory.clock()
        table.stops = table.stops - 1 if table.stopped != 0 else 0
    return table.stopped != 0


def let_go(heap, table):
    if table.stopped != 0:
        heap.memory.resume_others()
        table.stopped = 0


def let_go_in_time(heap, table):
    if table.stopped != 0 and heap.memory.clock() - table.since > STOP:
        let_go(heap, table)


# --- what to mesh


def give_up_waiting(heap, home):
    """Give up the empty slabs whose pages had to keep a frame that they shared."""
    for size_class in range(1, classes.CLASSES):
        slab = home.partial[size_class]
        while slab:
            following = slab.next
            if slab.left == 0:
                slabs.unlink(home, slab)
                slabs.give_up(heap, home, slab)
            slab = following


def is_candidate(slab):
    return slab.tiles == 1 and slab.carved == slab.capacity and bool(slab.free) and slab.left > 0


def count_pages(home):
    found = 0
    for size_class in range(1, classes.CLASSES):
        slab = home.partial[size_class]
        while slab:
            if is_candidate(slab):
                found += meshes.PAGES
            slab = slab.next
    return found


def table_for(heap, pages):
    """Memory for a pass; null if there is nothing to mesh, or no memory."""
    size = bits.align_up(Table.SIZE + pages * Page.SIZE, PAGE)
    start = heap.memory.mmap(size) if pages > 1 else -1
    table = Table(heap.memory, start if start != -1 else NULL)
    if table:
        table.size = size
    return table


def enter_pages(heap, home, table):
    page = Page(heap.memory, table.address + Table.SIZE)
    for size_class in range(1, classes.CLASSES):
        slab = home.partial[size_class]
        while slab:
            if is_candidate(slab):
                heal(heap, table, slab)
                page = enter_slab(table, slab, page)
            slab = slab.next


def heal(heap, table, slab):
    """Let a page that is alone with its frame have all of it."""
    for number in range(meshes.PAGES):
        if meshes.is_meshed(slab, number) and meshes.is_alone(heap, meshes.place_of(slab, number)):
            if holds_others(heap, table) and meshes.part(heap, slab, number, 1):
                meshes.raise_sunk(slab, number)
            let_go_in_time(heap, table)


def enter_slab(table, slab, page):
    """Enter the pages of a slab that are neither holes nor free, with what is in use; return the next unused entry."""
    for number in range(meshes.PAGES):
        page.at(page.address + number * Page.SIZE).slab = slab
        page.at(page.address + number * Page.SIZE).number = number
        for i in range(len(page.used)):
            page.at(page.address + number * Page.SIZE).used[i] = 0xFFFF_FFFF
    block = slab.free
    while block:
        note_free(page, block.address - records.start_of(slab), slab.size)
        block = block.next
    for number in range(meshes.PAGES):
        if slab.holes & bits.bit(number) == 0:
            link(table, page)
        page = page.at(page.address + Page.SIZE)
    return page


def note_free(page, offset, size):
    """Note a free block at an offset from the slab in the entries of its pages."""
    for place in range(offset >> LOG2_PLACE, (offset + size) >> LOG2_PLACE):
        entry = page.at(page.address + place // PLACES * Page.SIZE)
        entry.used[(place & (PLACES - 1)) >> 5] &= ~bits.bit(place & 31)


def link(table, page):
    used = 0
    for i in range(len(page.used)):
        used += bits.count_bits(page.used[i])
    page.next = table.lists[used]
    table.lists[used] = page


def place_pages(heap, home, table):
    """Let each page find another to share its frame with, those with the least in use first."""
    for used in range(1, PLACES):
        page = table.lists[used]
        while page and heap.meshes.pages < MAX_PAGES and (table.stopped != 0 or table.stops > 0):
            if meshes.is_meshed(page.slab, page.number) or not find_partner(heap, home, table, page):
                table.recent[table.turn] = page
                table.turn = (table.turn + 1) & (TRIES - 1)
            let_go_in_time(heap, table)
            page = page.next


def find_partner(heap, home, table, page):
    """Mesh a page with one of the last that fitted nowhere; return whether that was possible."""
    for i in range(TRIES):
        other = table.recent[i]
        if other and are_disjoint(other, page):
            return (
                holds_others(heap, table)
                and has_shared_frame(heap, table, other)
                and merge(heap, home, table, other, page)
            )
    return False


def are_disjoint(one, other):
    common = 0
    for i in range(len(one.used)):
        common |= one.used[i] & other.used[i]
    return common == 0


# --- two pages


def has_shared_frame(heap, table, page):
    """Give a page a frame that others can share, unless it has one; return whether it has."""
    if meshes.is_meshed(page.slab, page.number):
        return True
    if table.spares == 0:
        table.spare = heap.memory.spare_frames(BATCH)
        table.spares = BATCH if table.spare != -1 else 0
    place = meshes.place_of(page.slab, page.number)
    if table.spares == 0 or heap.memory.save_frame(table.spare, place) or heap.memory.take_frame(table.spare, place):
        return False
    table.spare += PAGE
    table.spares -= 1
    meshes.begin_ring(heap, page.slab, page.number)
    return True


def merge(heap, home, table, stays, goes):
    """Let the page `goes` lead to the frame of `stays`, which is shared; return whether the kernel did."""
    source, target = meshes.place_of(stays.slab, stays.number), meshes.place_of(goes.slab, goes.number)
    meshes.begin_ring(heap, goes.slab, goes.number)
    sink(stays.slab, source, goes, 0)
    sink(goes.slab, target, goes, 0xFFFF_FFFF)
    done = heap.memory.alias_frame(source, target, goes.used.address) == 0
    if done:
        meshes.join_ring(heap, target, source)
        table.merged += 1
        for i in range(len(stays.used)):
            stays.used[i] |= goes.used[i]
    else:
        meshes.leave_ring(heap, goes.slab, goes.number)
        meshes.raise_sunk(goes.slab, goes.number)
    rest_if_full(home, stays.slab)
    rest_if_full(home, goes.slab)
    return done


def sink(slab, start, page, inverted):
    """Take the blocks off a slab's list that touch the places of the page at `start` that another page has now: those
    in use in `page`, or if `inverted` is all ones, all others."""
    block = slab.free
    slab.free = NULL
    while block:
        rest = block.next
        if loses(slab, block, start, page, inverted):
            meshes.mark(slab, block.address, True)
        else:
            block.next = slab.free
            slab.free = block
        block = rest


def loses(slab, block, start, page, inverted):
    first = max(block.address - start, 0) >> LOG2_PLACE
    end = min(block.address + slab.size - start, PAGE) >> LOG2_PLACE
    lost = 0
    for place in range(first, end):
        lost |= (page.used[place >> 5] ^ inverted) & bits.bit(place & 31)
    return lost != 0


def rest_if_full(home, slab):
    """Let a slab sleep that has nothing left to hand out."""
    if not slab.free and slab.holes == 0 and slab.state == records.AWAKE:
        slabs.unlink(home, slab)
        slabs.put_to_sleep(slab)


# --- fork


def fork_prepare(heap):
    """Copy the shared frames for a child that is about to be forked. The roster and the pages are locked."""
    locks.acquire(heap.memory, heap.meshes.lock)
    heap.meshes.spare = 0
    heap.meshes.doubtful = 1 if heap.meshes.frames > 0 and not heap.memory.single_threaded() else 0
    if heap.meshes.frames > 0:
        heap.meshes.spare = heap.memory.spare_frames(heap.meshes.frames)
        if heap.meshes.spare != -1:
            for_each_ring(heap, 0)


def fork_parent(heap):
    if heap.meshes.spare > 0:
        heap.memory.drop_frames(heap.meshes.spare, heap.meshes.frames)
    locks.release(heap.memory, heap.meshes.lock)


def fork_child(heap):
    """Let the child's pages lead to the copies."""
    if heap.meshes.spare != 0:
        for_each_ring(heap, 1)
    if heap.meshes.doubtful != 0:
        homes.abandon_others(heap)
    heap.meshes.lock.store(locks.FREE)


def for_each_ring(heap, is_child):
    """Save the frame of each ring in a spare one, or in the child, let the ring have the spare one."""
    spare, segment = heap.meshes.spare, heap.pages.first
    while segment:
        tile = 1
        while tile < records.TILES:
            record = Record(heap.memory, segment.address + tile * records.RECORD)
            if records.is_slab(record):
                spare = copy_rings_of(heap, record, spare, is_child)
            tile += 1 if record.tag.load() == records.FREE_TAG else record.tiles
        segment = segment.next


def copy_rings_of(heap, slab, spare, is_child):
    """Do so for the rings whose first page lies in a slab; return the next spare frame."""
    for number in range(meshes.PAGES):
        page = meshes.place_of(slab, number)
        if meshes.is_meshed(slab, number) and is_lowest(heap, page):
            if is_child:
                lead_to(heap, page, spare)
            else:
                heap.memory.save_frame(spare, page)
            spare += PAGE
    return spare


def is_lowest(heap, page):
    """Whether a page is the one with the lowest address in its ring."""
    other = meshes.after(heap.memory, page)
    while other > page:
        other = meshes.after(heap.memory, other)
    return other == page


def lead_to(heap, page, spare):
    """Let all pages of a ring lead to a spare frame. A child that cannot have its own frames must not go on."""
    if heap.meshes.spare == -1 or heap.memory.take_frame(spare, page) != 0:
        heap.memory.fault("no memory for the shared frames of a forked child", page)
    other = meshes.after(heap.memory, page)
    while other != page:
        if heap.memory.alias_frame(page, other, 0) != 0:
            heap.memory.fault("no memory for the shared frames of a forked child", other)
        other = meshes.after(heap.memory, other)
