"""Wright: the project's own malloc, which follows no paper but the evidence: small, fast, and shared by threads.

Sources: the lists per class of mimalloc (D. Leijen, B. Zorn, L. de Moura, Mimalloc: Free List Sharding in Action, 2019)
and rpmalloc; the countdown of a slab and the batches of remote frees of snmalloc (P. Lietar et al., snmalloc: A Message
Passing Allocator, ISMM 2019); page-wise carving of rpmalloc; decision 0008 of this project for threads that succeed
each other.

A segment is 64 tiles of 16 KiB, and a record of each tile in its first page (records). A run of tiles is a slab of
small blocks of one class (classes, slabs) or a large block. Each thread has a home with lists of blocks (homes):

      segment  -> +-----------------+      block -> +--------------------+
                  | records         |     in use    | the caller's bytes |
        16 KiB -> +-----------------+               +--------------------+
                  | tile: a slab,   |      block -> +--------------------+
                  | a large block,  |       free    | next               |
                  | or free         |               | stale              |
                  +-----------------+               +--------------------+

Fields of the allocator: the page heap (tiles), the ranges of whole megabytes (slots), the reserve of free memory, and
the roster of homes.

`alloc` takes the first block of the list of its class. An empty list is refilled from the home's current slab: all
blocks that came home, or the next page of it. That takes the home's own lock, which is nearly always free; a new run of
tiles also takes the one of all pages.

`dealloc` finds the record of the block's tile by masking the address. The record's tag is the address of a list. If the
list is in the thread's own home and has room, the block goes there. If it has no room, the older half of the list goes
home first, each block onto the list of its slab. A block of another home goes into the outbox, and in a batch to that
home's inbox (remote). So each block returns to the slab it came from, and threads do not share cache lines because of
wright, unless they are more than 16: then all but the first 16 take their first eight blocks of a class from one home.

Larger requests, up to 512 KiB, take a run of tiles, and others a range of their own (huge_ranges). A thread keeps the
last two runs of up to 128 KiB that it freed for its next requests (spares).

Memory that a drain sets free goes back to the kernel at once, except for a small reserve. A heap of up to 8 MiB keeps
what it had at its peak. The lists of a home that shrinks go home, and another thread drains the inbox of one that
sleeps. So what is resident follows what is live, also when threads go idle.

A variant, `wright[MESHED=1]`, lets pages of slabs share a frame if their live blocks lie at different places: when
memory is trimmed or drains (meshes, meshing). It hands out the blocks of a new page in scattered order.

The variant `wright[HARDENED=1]` reports misuse: a block ends with a seal, links are encoded, freed blocks are cleared
and checked, and segments have protected pages (hardened, seals, known_segments). A copy is looked at before it happens
(copies). The invariants of the variants are in mesh_checks and seal_checks.

Invariants
    W1  segments lie at multiples of 1 MiB, in one list by address; their bits are those of their records
    W2  in a slab, blocks out of it and free ones sum to the carved ones, and `left` counts down to the next event
    W3  each free block begins at a multiple of the block size in its slab, and is free once
    W4  a block in a list or box is out of its slab, whose tag names that home and class; no box is full
    W5  a list's room does not exceed its limit
    W6  all tiles of a run have its tag, and `back` leads from each to the first
    W7  a home lists exactly its awake slabs, linked both ways, and its current slab of a class is the only such one
    W8  the tiles of a segment are free, or belong to one run
    W9  the counts of taken and of dirty tiles are those of all segments, and no segment below `roomy` has a free tile
    W10 huge ranges lie at multiples of 1 MiB, each with a record; kept ones are ordered, apart, and add up
    W11 live huge blocks sum up to the count, at most the peak
    W12 a home counts the tiles of its slabs; the spares of all homes are the large runs in no use, each once
    W13 the reserve is at least its least in this epoch; that, its credit and what it released are not negative
    W14 only a slab that is awake or current has holes, and no block in one is in use or on a list

Bound: a thread's list of a class has at most 16 KiB or 512 blocks, or else one, beyond its last refill.
Each of the first 16 threads has at most two spares of 128 KiB.
The reserve has at most 512 KiB, a thirty-second of the live bytes, and what was released and needed again in the same
epoch: a fifth of a second, or up to five seconds if huge blocks are freed in it. Together with what is live, it may
always reach 8 MiB, but no more than was ever live.

Costs: a thread with one block in each of many classes touches a page for each. `trim` does not reach blocks in the
lists of threads that sleep: they go home at the thread's next refill.
"""

from __future__ import annotations

from heapwright import bits
from heapwright.allocators.wright import (
    claims,
    classes,
    copies,
    hardened,
    homes,
    huge_ranges,
    inspect,
    lives,
    records,
    remote,
    runs,
    seals,
    supply,
)
from heapwright.allocators.wright.state import Heap  # noqa: F401  its fields
from heapwright.layout import NULL

walk, check, lists = inspect.walk, inspect.check, inspect.lists
survey = inspect.survey
usable_size, expect_size = claims.usable_size, claims.expect_size
expect_room = copies.expect_room
thread_exit, release_held = lives.thread_exit, lives.release_held
fork_prepare, fork_parent, fork_child = lives.fork_prepare, lives.fork_parent, lives.fork_child

OVERHEAD = 0
OVERHEAD_ELSEWHERE = "64 bytes for each tile of 16 KiB"
SMALLEST = 16
ALIGN = 16
ALLOC_COST = "O(1), a lock once in a page"
DEALLOC_COST = "O(1), a lock once in half a list"
GIVES_BACK = "tiles, segments and huge blocks"

THREADS = "own"
RACES = hardened.RACES
DETECTS = hardened.DETECTS
SLOW_PATHS = (
    *("alloc_medium", "alloc_slowly", "dealloc_slowly", "dealloc_home", "trim", "usable_size", "realloc"),
    # Each of these has several callers. One copy keeps the library small: all its pages count in a small program.
    *("refill", "alloc_once", "lives.post_all", "remote.post_all", "send", "drain", "relieve", "tidy", "gather"),
    *(
        "put_all_home",
        "give_up_unused",
        "slabs.flush",
        "slabs.settle",
        "release_empty",
        "carve",
        "this_home",
        "live_record",
    ),
    *("take_run", "free_run", "resize_run", "tiles.settle", "tiles.release", "give_segment", "spares.put"),
    *("alloc_huge", "dealloc_huge", "resize_huge", "huge_size", "live_huge", "take_kept", "slots.keep", "evict"),
    # What only a hardened heap has.
    *(
        "is_linked",
        "known_segments.enter",
        "known_segments.remove",
        "carve_shuffled",
        "resize_sealed",
        "checked_large",
        "close_large",
        "alloc_carefully",
        "dealloc_carefully",
        "put_any",
    ),
    *("send_waiting", "put_waiting_home", "huge_ends.close", "huge_ends.checked", "copies.report"),
    *("has_record", "map_range", "map_at_multiple", "end_epoch_if_over", "squeeze", "holes.give_back", "holes.fill"),
    *("meshing.mesh", "mesh_after_drain", "for_each_ring"),
    *("part_all", "meshes.sunk_in", "raise_sunk", "carve_scattered"),
)
TUNABLES = (("HARDENED", "hardened.HARDENED", (0, 1)), ("MESHED", "records.MESHED", (0, 1)))
EXCLUSIVE = ("HARDENED", "MESHED")  # encoded links are not known to the pages that share a frame
RECLAIMS = True  # when memory runs out, kept memory is released
RETAINS = 1 << 15  # a home, and the records of huge blocks
# In a hardened heap, no run of MAX_RUN tiles at a multiple of as many has room before the guard.
MAX_ALIGN = runs.MAX_LARGE >> hardened.HARDENED


# --- the slow paths


def alloc_medium(heap, size, align):
    """Take a block of any small class from this thread's list, or else allocate slowly."""
    home = homes.Home(heap.memory, heap.memory.local(homes.MINE))
    if home and 0 < size <= classes.MAX_SMALL and align <= records.TILE:
        rounded = bits.align_up(size, align)
        if rounded <= classes.MAX_SMALL:
            hot = home.hot[classes.class_of(rounded)]
            if hot.first:
                return homes.hand_out(hot)
    return alloc_slowly(heap, size, align)


def alloc_slowly(heap, size, align):
    """Allocate what the lists cannot supply. When memory is exhausted, use what is kept, or else release it first."""
    if bits.is_absurd(size, align):
        return NULL
    rounded = bits.align_up(max(size, 1), align)
    address = alloc_once(heap, rounded, align)
    if address == NULL and lives.gather(heap):
        address = alloc_once(heap, rounded, align)
    if address == NULL and lives.release_all(heap) > 0:
        address = alloc_once(heap, rounded, align)
    return address


def alloc_once(heap, rounded, align):
    if align > MAX_ALIGN or rounded > runs.MAX_LARGE:
        return huge_ranges.alloc_huge(heap, rounded, align)
    if align > records.TILE or rounded > classes.MAX_SMALL:
        return runs.alloc_large(heap, rounded, align)
    home, size_class = homes.this_home(heap), classes.class_of(rounded)
    if not home or homes.is_trying(home, size_class):
        return supply.alloc_common(heap, size_class)
    return supply.alloc_small(heap, home, size_class)


def dealloc_slowly(heap, address):
    """Free a huge or large block, or one of another home."""
    if bits.is_aligned(address, records.SEGMENT):
        huge_ranges.dealloc_huge(heap, address)
        return
    record = claims.live_record(heap, address)
    home = homes.this_home(heap)
    if not records.is_slab(record):
        runs.dealloc_large(heap, home, record)
        return
    slab, block = records.head_of(record), records.Block(heap.memory, address)
    if not home:
        remote.send(heap, slab, block, block, 1)
    elif records.home_address(slab) == home.address:  # the thread has just taken over this home
        supply.dealloc_home(heap, address, record.tag.load())
    else:
        home.busy = 1
        remote.put(heap, home, slab, block)
        home.busy = 0


def take(heap, size, align):
    """Take a block from this thread's list. The class of a size rounded up to `align` has that alignment."""
    align = max(align, ALIGN)
    rounded = bits.wrapping_add(size, align - 1) & -align  # an absurd size wraps around, to class 0 or beyond the limit
    if bits.unsigned_less(rounded, heap.memory.local(homes.LIMIT)):  # the limit is 0 before the thread's first call
        hot = homes.Hot(heap.memory, heap.memory.local(homes.MINE) + rounded)
        if hot.first:
            return homes.hand_out(hot)
    return alloc_medium(heap, size, align)


def put(heap, address):
    """Free into the list that the tile's tag names, if that is this thread's and has room."""
    offset = records.offset_of(address)
    if offset != 0:
        tag = records.record_at(heap, address, offset).tag.load()
        if bits.unsigned_less(tag ^ heap.memory.local(homes.MINE), records.STEPS):
            put_in_list(heap, address, tag)
            return
    dealloc_slowly(heap, address)


def put_in_list(heap, address, tag):
    """Free into a list of this thread's, if that has room."""
    hot = homes.Hot(heap.memory, tag)
    room = hot.room
    hot.room = bits.wrapping_add(room, -1)
    if room != 0:
        block = records.Block(heap.memory, address)
        records.link(block, hot.first)
        hot.first = block
    else:
        supply.dealloc_home(heap, address, tag)


# --- a hardened heap


def alloc_sealed(heap, size, align):
    """Take a block of zeros, if it is small, and mark its end. This is the short way of the common case."""
    room = seals.room_for(size)
    if align <= ALIGN and bits.unsigned_less(room, heap.memory.local(homes.LIMIT)):
        hot = homes.Hot(heap.memory, heap.memory.local(homes.MINE) + room)
        address = hot.first.address
        if address != NULL:
            key = hardened.key_of(heap.memory, address)
            if seals.take_clear(hot, key, address, room):
                seals.close_quickly(heap.memory, key, address, room, size)
                return address
    return alloc_carefully(heap, size, align)


def alloc_carefully(heap, size, align):
    """The same for any request, and with a report of a block that was written to."""
    return NULL if bits.is_absurd(size, align) else claims.seal_new(heap, take(heap, seals.padded(size), align), size)


def dealloc_sealed(heap, address, size, align):
    """Check a block and clear it. Free the one that has waited longest in its stead."""
    home = heap.memory.local(homes.MINE)
    room = claims.room_of_sound(heap, home, address, size)
    if room < 0:
        dealloc_carefully(heap, address, size, align)
        return
    seals.clear_quickly(heap.memory, address, room)
    swap(heap, seals.place_among(homes.Home(heap.memory, home), 1), address, home + room)


def dealloc_carefully(heap, address, size, align):
    """The same for any address, with a report of what is wrong."""
    if bits.is_aligned(address, records.SEGMENT):
        claims.require_size(heap, address, size, claims.checked_size(heap, address))
        put(heap, address)
        return
    run = records.head_of(claims.live_record(heap, address))
    if records.is_slab(run):
        claims.require_size(heap, address, size, seals.checked_small(heap, address, run))
        seals.clear(heap.memory, address, run.size)
        wait(heap, address, run.size)
    else:
        claims.require_size(heap, address, size, seals.checked_large(heap, address, run))
        put(heap, address)


def wait(heap, address, room):
    """Let any small block wait in the thread's home. It does not wait if there is none."""
    home = homes.Home(heap.memory, heap.memory.local(homes.MINE))
    if not home:
        put(heap, address)
    elif room <= seals.COMMON:
        swap(heap, seals.place_among(home, 1), address, 0)
    else:
        swap(heap, seals.place_among(home, 0), address, 0)


def swap(heap, place, address, tag):
    """Let a block wait at the place of another one, and free that one."""
    longest, its_tag = place.block, place.tag
    place.block = address
    place.tag = tag
    if longest == NULL:
        return
    seals.require_no_link(heap, longest)
    if its_tag != 0:
        put_in_list(heap, longest, its_tag)
    else:
        put_any(heap, longest)


def put_any(heap, address):
    """Free a block that waited, and that may be of another home or of any class."""
    put(heap, address)


def realloc_sealed(heap, address, align, new_size):
    """Stay if the block has the room and is half full, or if a large one can be resized where it is; else move."""
    size = claims.checked_size(heap, address)
    if bits.is_absurd(new_size, align):
        return NULL
    if resize_sealed(heap, address, size, new_size):
        return address
    most = with_headroom(claims.room_at(heap, address), new_size)
    target = claims.seal_new(heap, take(heap, seals.padded(most), align), new_size)
    if target == NULL:
        target = alloc(heap, new_size, align)
    if target != NULL:
        heap.memory.copy(target, address, min(size, new_size))
        dealloc(heap, address, 0, align)
    return target


def resize_sealed(heap, address, size, new_size):
    """Resize a block in place; return whether that was possible."""
    if bits.is_aligned(address, records.SEGMENT) or not records.is_slab(records.record_of(heap, address)):
        if not resize(heap, address, seals.padded(new_size)):
            return False
        claims.seal_new(heap, address, new_size)
        return True
    run = records.head_of(records.record_of(heap, address))
    room = run.size - hardened.SEAL
    if not room >> 1 <= new_size <= room:
        return False
    seals.reclose(heap, address, run.size, size, new_size)
    return True


# --- the allocator


def alloc(heap, size, align):
    """Take a block from this thread's list."""
    return alloc_sealed(heap, size, align) if hardened.IS_HARDENED else take(heap, size, align)


def dealloc(heap, address, size, align):
    """Put a block into this thread's list, if it is one of its home's."""
    if hardened.IS_HARDENED:
        dealloc_sealed(heap, address, size, align)
    else:
        put(heap, address)


def alloc_zeroed(heap, size, align):
    address = alloc(heap, size, align)
    if address != NULL and not is_zero(heap, address):
        heap.memory.fill(address, size, 0)
    return address


def is_zero(heap, address):
    """Whether a block that was just allocated is known to be full of zeros."""
    if bits.is_aligned(address, records.SEGMENT):
        return huge_ranges.is_zero(heap, address)
    record = records.record_of(heap, address)
    if hardened.IS_HARDENED and records.is_slab(record):
        return records.head_of(record).size <= seals.CHECKED
    return record.tag.load() == records.LARGE_TAG and record.is_fresh != 0


def realloc(heap, address, size, align, new_size):
    """Stay if the block fits and is half full, or can shrink or grow where it is; else move."""
    if hardened.IS_HARDENED:
        return realloc_sealed(heap, address, align, new_size)
    usable = claims.usable_size(heap, address)
    if usable >> 1 <= new_size <= usable:
        return address
    if not bits.is_absurd(new_size, align) and resize(heap, address, new_size):
        return address
    target = alloc(heap, with_headroom(usable, new_size), align)
    if target == NULL:
        target = alloc(heap, new_size, align)
    if target != NULL:
        heap.memory.copy(target, address, min(usable, new_size))
        dealloc(heap, address, usable, align)
    return target


def with_headroom(usable, new_size):
    """The size to move to. A block that grows by less than a quarter may grow again, so it gets the whole quarter."""
    most = usable + (usable >> 2)
    return most if usable < new_size < most else new_size


def resize(heap, address, new_size):
    """Resize a large or huge block in place; return whether that was possible."""
    if bits.is_aligned(address, records.SEGMENT):
        return new_size > runs.MAX_LARGE and huge_ranges.resize_huge(heap, address, new_size)
    record = records.record_of(heap, address)
    if records.is_slab(record) or not classes.MAX_SMALL < new_size <= runs.MAX_LARGE:
        return False
    return runs.resize_large(heap, record, new_size)


# --- memory given back


def trim(heap, pad):
    """Release what no thread needs; return the bytes. The other threads empty their lists at their next refill."""
    heap.roster.trims.add(1)
    return lives.release_all(heap)
