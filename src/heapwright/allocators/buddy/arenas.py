"""The map of a buddy arena, which says for each 32 bytes what begins there, and the lookup of addresses.

      arena -> +----------------+
             0 | the map:       |  a byte for each 32 bytes: order | OWN, USED, FREE; 0 if no block begins there
        2^17   +----------------+
               | block, block,  |
        2^22   +----------------+

A program may free any address, and there may be no arena and no map for it. So the heap has a table of known arenas.
The low bits of an arena's number select its place there, which it shares with arenas a multiple of 512 MiB away. If an
arena is not in its place, the allocator asks the kernel whether the address is mapped before it reads there.

A heap here is `buddy.Heap`.
"""

from __future__ import annotations

from heapwright import bits
from heapwright.layout import Array, Byte, Struct, Word

MIN_ORDER = 5
ARENA_ORDER = 22
MIN_BLOCK, ARENA = 1 << MIN_ORDER, 1 << ARENA_ORDER
MAP_ORDER = ARENA_ORDER - MIN_ORDER
MAP_SIZE = 1 << MAP_ORDER
NO_BLOCK, IS_OWN, IS_USED, IS_FREE = 0, 0x40, 0x80, 0xC0  # entries of the map; all but 0 include the block's order
ORDER_BITS = 0x3F
ARENAS = 128  # places for known arenas
ARENA_MAGIC = 0x0B0DD1E5
MAGIC_AT = 1  # the word of the map that holds the magic; its entries are for the inside of the map and unused


class Arena(Struct):
    map: Array[Byte, ARENA // MIN_BLOCK]


class MapWords(Struct):
    """The map as words of eight entries: `check` reads it so, and one word holds the magic."""

    words: Array[Word, ARENA // MIN_BLOCK // 8]


# --- blocks and the map


def arena_of(heap, address):
    return Arena(heap.memory, bits.align_down(address, ARENA))


def index_of(address):
    """The index of an address in the map."""
    return (address & (ARENA - 1)) >> MIN_ORDER


def state_at(heap, address):
    return arena_of(heap, address).map[index_of(address)]


def set_state(heap, address, state):
    arena_of(heap, address).map[index_of(address)] = state


def buddy_of(address, order):
    return address ^ bits.bit(order)


def order_for(size, align):
    """The lowest order whose blocks have this size and alignment."""
    return bits.ceil_log2(max(size, align, MIN_BLOCK))


# --- the known arenas


def place_of(arena):
    return bits.shift_right(arena.address, ARENA_ORDER) & (ARENAS - 1)


def open_arena(heap, arena):
    """Begin the map of a new arena with the entry for the map itself."""
    MapWords(heap.memory, arena.address).words[MAGIC_AT] = ARENA_MAGIC
    set_state(heap, arena.address, IS_OWN | MAP_ORDER)
    remember_arena(heap, arena)


def is_arena(heap, arena):
    """Whether there is an arena at an address, where there may be other memory or none."""
    words = MapWords(heap.memory, arena.address).words
    return heap.memory.is_mapped(arena.address) and words[MAGIC_AT] == ARENA_MAGIC


def remember_arena(heap, arena):
    heap.arenas[place_of(arena)] = arena


def forget_arena(heap, arena):
    if heap.arenas[place_of(arena)] == arena:
        heap.arenas[place_of(arena)] = 0


def find_arena(heap, address):
    """Find an arena that is not in its place, and put it there; report an address that has none."""
    arena = arena_of(heap, address)
    if not is_arena(heap, arena):
        heap.memory.fault("not a block of this heap", address)
    remember_arena(heap, arena)


# --- the block of an address


def order_at(heap, address):
    """The order of the live block that begins at an address; any other address is a misuse."""
    arena = arena_of(heap, address)
    if heap.arenas[place_of(arena)] != arena or not arena:
        find_arena(heap, address)
    state = arena.map[index_of(address)]
    order = state ^ IS_USED
    if order > ORDER_BITS or not bits.is_aligned(address, MIN_BLOCK):
        report(heap, address, state)
    return order


def report(heap, address, state):
    if state >= IS_FREE and bits.is_aligned(address, MIN_BLOCK):
        heap.memory.fault("double free", address)
    heap.memory.fault("no block begins here", address)
