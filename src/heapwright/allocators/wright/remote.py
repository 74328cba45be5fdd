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

So the owner splices a batch into the slab's list without a walk (as snmalloc does). Only the home's own thread takes
from an inbox, and it takes all batches at once.
"""

from __future__ import annotations

from heapwright.allocators.wright import homes, records, slabs
from heapwright.allocators.wright.homes import Home
from heapwright.layout import NULL

BATCH_BLOCKS, BATCH_BYTES = 64, 4096
COUNT = 48  # position of the number in a batch's second word
ADDRESS = (1 << COUNT) - 1


# --- the outbox


def put(heap, home, slab, block):
    """Put a block of another home into the outbox."""
    slot = slot_for(home, slab)
    if slot.slab != slab:
        post(heap, slot)
        slot.slab = slab
        slot.last = block
    block.next = slot.first
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
    second = first.at(NULL) if count == 1 else first.next
    first.second = second.address | count << COUNT
    if second:
        second.second = last.address
    inbox = Home(heap.memory, records.home_address(slab)).inbox
    newest = inbox.load()
    first.next = newest
    while not inbox.compare_exchange(newest, first):
        newest = inbox.load()
        first.next = newest


def post_all(heap, home):
    if home.pending != 0:
        home.pending = 0
        for i in range(homes.SLOTS):
            post(heap, home.outbox[i])


# --- the inbox


def drain(heap, home):
    """Put the blocks that other threads freed on the lists of their slabs."""
    if not home.inbox.load():
        return
    batch = home.inbox.exchange(NULL)
    while batch:
        following = batch.next
        slab = records.head_of(records.record_of(heap, batch.address))
        count = splice(slab, batch)
        slabs.count_home(heap, home, slab, count)
        batch = following


def splice(slab, batch):
    """Put a batch on the list of its slab; return the number of blocks."""
    count, last = batch.second >> COUNT, batch
    second = batch.at(batch.second & ADDRESS)
    if second:
        last = second.at(second.second)
        batch.next = second
    last.next = slab.free
    slab.free = batch
    return count
