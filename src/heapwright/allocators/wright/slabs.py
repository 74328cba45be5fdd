"""Wright's slabs: runs of blocks of one class. Each belongs to one home, whose thread alone changes it.

           new, or woken                   every block handed out
    ---> +---------+ ---- refill ---> +---------+ ----------> +--------+
         | awake   |                  | current |             | asleep |
    <--- +---------+ <--------------- +---------+             +--------+
    empty     ^                                                   |
              +-------------- an eighth came home ----------------+

A slab that is empty while it is current stays, unless its home is giving memory up: then its class has no limit.

`out` is the number of blocks in use, in lists and in boxes. `left` counts down to the next event: while a slab is
current or awake it equals `out`, and 0 means empty; while it is asleep, 0 means that an eighth of its blocks came home.
One decrement and one test serve both (snmalloc's `needed`).

A page of blocks is carved at a time, so pages that nobody needs stay untouched.
"""

from __future__ import annotations

from heapwright.allocators.wright import classes, hardened, holes, meshes, records, seals, spares, tiles
from heapwright.allocators.wright.records import Block
from heapwright.layout import NULL

CARVED = 4096  # bytes at a time
LOG2_WAKE = 3


def out_of(slab):
    """The number of blocks that did not come home."""
    return slab.left + usable_in(slab) - wake_of(slab) if slab.state == records.ASLEEP else slab.left


def wake_of(slab):
    """The number of free blocks at which a slab wakes."""
    return max(1, usable_in(slab) >> LOG2_WAKE)


def usable_in(slab):
    """The number of blocks that the slab can hand out."""
    return slab.capacity - sunk_in(slab)


def sunk_in(slab):
    """The number of blocks whose bytes are another page's, because they share a frame."""
    return meshes.sunk_in(slab) if records.MESHED != 0 else 0


def new_slab(heap, home, size_class):
    """A slab from the page heap; null when memory is exhausted."""
    size = classes.size_of_class(size_class)
    count = classes.tiles_for(size)
    tag = home.address + (size_class << records.LOG2_STEP)
    slab = tiles.take_run(heap, count, 1, tag)
    if slab:
        slab.size = size
        slab.holes = 0
        if records.MESHED != 0:
            slab.meshed = 0
        slab.capacity = records.bytes_of(slab) // size
        slab.state = records.CURRENT
        home.tiles += count
        home.most = max(home.most, home.tiles)
    return slab


def give_up(heap, home, slab):
    """Give an empty slab back to the page heap. If its pages must keep a frame that they share, it waits instead."""
    if records.MESHED != 0 and not meshes.part_all(heap, slab):
        link(home, slab)
        return
    home.tiles -= slab.tiles
    tiles.free_run(heap, slab)


def carve(slab):
    """List the blocks that begin in the next page; return whether there are any."""
    count, size = slab.capacity - slab.carved, slab.size
    if count == 0:
        return False
    first = records.start_of(slab) + slab.carved * size
    count = min(count, (CARVED - first % CARVED + size - 1) // size)
    slab.carved += count
    if records.MESHED != 0:
        meshes.carve_scattered(slab, first, count)
        return True
    if hardened.IS_HARDENED:
        seals.carve_shuffled(slab, first, count)
        return True
    block = Block(slab.memory, first + (count - 1) * size)
    records.link(block, slab.free)
    while block.address > first:
        lower = block.at(block.address - size)
        records.link(lower, block)
        block = lower
    slab.free = block
    return True


# --- the lists of a home


def link(home, slab):
    size_class = records.class_in(slab)
    first = home.partial[size_class]
    slab.state = records.AWAKE
    slab.previous = NULL
    slab.next = first
    if first:
        first.previous = slab
    home.partial[size_class] = slab


def unlink(home, slab):
    if slab.next:
        slab.next.previous = slab.previous
    if slab.previous:
        slab.previous.next = slab.next
    else:
        home.partial[records.class_in(slab)] = slab.next


def put_to_sleep(slab):
    slab.state = records.ASLEEP
    slab.left = wake_of(slab)


def ready_slab(heap, home, size_class):
    """The current slab, with a block on its list, or the next one that has some; null when memory is exhausted."""
    slab = home.current[size_class]
    if slab and not replenish(slab):
        put_to_sleep(slab)
        slab = slab.at(NULL)
    if not slab:
        slab = home.partial[size_class]
        if slab:
            unlink(home, slab)
            slab.state = records.CURRENT
        else:
            slab = new_slab(heap, home, size_class)
        home.current[size_class] = slab
        if slab:
            replenish(slab)
    return slab


def replenish(slab):
    """Let a slab have a block on its list; return whether it has one."""
    if slab.holes != 0:
        holes.fill(slab)
    return bool(slab.free) or carve(slab)


def detach(slab):
    """Take all blocks that came home or were carved; return the first."""
    block = slab.free
    slab.free = NULL
    slab.left = slab.carved - sunk_in(slab)
    return block


# --- blocks that come home


def put_home(heap, home, slab, block):
    home.returned += slab.size
    records.link(block, slab.free)
    slab.free = block
    slab.left -= 1
    if slab.left == 0:
        settle(heap, home, slab)


def settle(heap, home, slab):
    """Wake a slab of which enough is free, or give up an empty one."""
    if slab.state == records.ASLEEP:
        link(home, slab)
        slab.left = usable_in(slab) - wake_of(slab)
        if records.MESHED != 0 and slab.left == 0:  # its only usable block came home
            unlink(home, slab)
            give_up(heap, home, slab)
    elif slab.state == records.AWAKE:
        unlink(home, slab)
        give_up(heap, home, slab)
    elif home.limits[records.class_in(slab)] == 0:
        home.current[records.class_in(slab)] = NULL
        give_up(heap, home, slab)


def count_home(heap, home, slab, count):
    """Count blocks that were put on a slab's list."""
    while count > 0 and count >= slab.left:
        count -= slab.left
        slab.left = 0
        settle(heap, home, slab)
    if count > 0:
        slab.left -= count


def release_empty(heap, home):
    """Give up the current slabs that are empty."""
    for size_class in range(1, classes.CLASSES):
        slab = home.current[size_class]
        if slab and slab.left == 0:
            home.current[size_class] = NULL
            give_up(heap, home, slab)


def flush(heap, home):
    """Put the blocks of all lists home."""
    for size_class in range(1, classes.CLASSES):
        hot = home.hot[size_class]
        block = hot.first
        hot.first = NULL
        hot.room = 0
        put_all_home(heap, home, block)
    home.seen = heap.pages.taken.load()
    home.most = home.tiles


def put_all_home(heap, home, block):
    """Put a chain of blocks home."""
    while block:
        rest = records.next_of(block)
        put_home(heap, home, records.head_of(records.record_of(heap, block.address)), block)
        block = rest


def give_up_unused(heap, home):
    """Put everything home that a home keeps for its thread, and give up its empty slabs. Until its next refill a class
    has no list, so that blocks freed from now on go straight home."""
    for size_class in range(1, classes.CLASSES):
        home.limits[size_class] = 0
    flush(heap, home)
    release_empty(heap, home)
    spares.give_up(heap, home)
    home.most = home.tiles
    home.returned = 0


def put_cold_home(heap, home, size_class):
    """Keep the half of a list that was freed last, put the rest home, and open the room for as many blocks again."""
    hot, limit = home.hot[size_class], home.limits[size_class]
    cold = cut(hot, limit >> 1)
    hot.room = limit - (limit >> 1)
    put_all_home(heap, home, cold)


def cut(hot, keep):
    """Shorten a list to its first `keep` blocks; return the rest."""
    rest = hot.first
    if keep == 0:
        hot.first = NULL
        return rest
    for _ in range(keep - 1):
        if not rest:
            return rest
        rest = records.next_of(rest)
    if not rest:
        return rest
    last = rest
    rest = records.next_of(last)
    records.link(last, last.at(NULL))
    return rest
