"""Remote frees: blocks that a thread frees for another home travel in batches.

                 outbox of the freeing thread                  inbox of the home
      block --> +-----------------------------+   one CAS    +-------------------+
                | slab | block -> block -> .. | -----------> | batch -> batch    | --> the slab's list
                +-----------------------------+              +-------------------+

The outbox has 16 places, each for blocks of one slab. The thread posts a place when it has 64 blocks or 4 KiB, when
another slab needs it, and all places when a list of its own is empty. A batch lies in its blocks:

      first  -> | next batch      | second block, and the number of blocks << 48 |
      second -> | third block     | last block                                   |
      third  -> | fourth block    |
      last   -> | anything        |

So a batch is spliced into the slab's list without a walk (as snmalloc does). The home's own thread drains its inbox,
all batches at once, when a list of its own is empty. But it may sleep, or it may only wait for more work. Therefore the
inbox counts its batches in the upper bits of the word, and a sender that finds many drains it itself, under the home's
lock.
"""

from __future__ import annotations

from heapwright import locks
from heapwright.allocators.wright import homes, records, slabs
from heapwright.allocators.wright.homes import Home
from heapwright.allocators.wright.records import Block
from heapwright.layout import NULL

BATCH_BLOCKS, BATCH_BYTES = 64, 4096
COUNT = 48  # position of the number in a batch's second word
ADDRESS = (1 << COUNT) - 1
MAX_BATCHES = (1 << 14) - 1
RELIEF = 16  # batches in an inbox after which a sender drains it


# --- the outbox


def put(heap, home, slab, block):
    """Put a block of another home into the outbox."""
    slot = slot_for(home, slab)
    if slot.slab != slab:
        post(heap, slot)
        slot.slab = slab
        slot.last = block
    records.link(block, slot.first)
    slot.first = block
    slot.count += 1
    home.pending = 1
    if slot.count >= BATCH_BLOCKS or slot.count * slab.size >= BATCH_BYTES:
        post(heap, slot)


def slot_for(home, slab):
    number = (slab.address >> records.LOG2_RECORD) ^ (slab.address >> records.LOG2_TILE)
    return home.outbox[number & (homes.SLOTS - 1)]


def post(heap, slot):
    """Send the blocks of a place to their home."""
    if slot.count > 0:
        send(heap, slot.slab, slot.first, slot.last, slot.count)
    slot.slab = NULL
    slot.first = NULL
    slot.count = 0


def send(heap, slab, first, last, count):
    """Push a batch onto the inbox of the slab's home."""
    second = first.at(NULL) if count == 1 else records.next_of(first)
    records.set_second(first, second.address | count << COUNT)
    if second:
        records.set_second(second, last.address)
    owner = Home(heap.memory, records.home_address(slab))
    newest = owner.inbox.load()
    records.link(first, first.at(newest & ADDRESS))
    while not owner.inbox.compare_exchange(newest, with_one_more(newest, first)):
        newest = owner.inbox.load()
        records.link(first, first.at(newest & ADDRESS))
    if newest >> COUNT >= RELIEF:
        relieve(heap, owner)


def with_one_more(inbox, batch):
    """The word of an inbox after one more batch."""
    return min((inbox >> COUNT) + 1, MAX_BATCHES) << COUNT | batch.address


def post_all(heap, home):
    if home.pending != 0:
        home.pending = 0
        for i in range(homes.SLOTS):
            post(heap, home.outbox[i])


# --- the inbox


def drain(heap, home):
    """Put the blocks that other threads freed on the lists of their slabs."""
    if home.inbox.load() == NULL:
        return
    batch = Block(heap.memory, home.inbox.exchange(NULL) & ADDRESS)
    while batch:
        following = records.next_of(batch)
        slab = records.head_of(records.record_of(heap, batch.address))
        count = splice(slab, batch)
        slabs.count_home(heap, home, slab, count)
        batch = following


def relieve(heap, home):
    """Drain the inbox of another thread's home. That thread may sleep, or it may be gone."""
    if locks.try_acquire(heap.memory, home.lock):
        drain(heap, home)
        slabs.release_empty(heap, home)
        locks.release(heap.memory, home.lock)


def newest_batch(home):
    return Block(home.memory, home.inbox.load() & ADDRESS)


def splice(slab, batch):
    """Put a batch on the list of its slab; return the number of blocks."""
    word, last = records.second_of(batch), batch
    count, second = word >> COUNT, batch.at(word & ADDRESS)
    if second:
        last = second.at(records.second_of(second))
        records.link(batch, second)
        records.forget_second(second)
    records.forget_second(batch)
    records.link(last, slab.free)
    slab.free = batch
    return count
