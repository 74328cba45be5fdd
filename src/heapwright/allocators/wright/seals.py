"""The seals of a hardened heap, and the checks of a block when it is freed and when it is handed out.

         small block -> +---------------------+        large block -> +---------------------+
                        | the caller's bytes  |                       | the caller's bytes  |
         size asked for +---------------------+        size asked for +---------------------+
                        | pattern             |  up to 71 bytes       | pattern             |  8 to 71 bytes
                        | zeros               |                       | anything            |
           its last 8 B | seal                |                       +---------------------+
                        +---------------------+          the size is in the record of its first tile

The pattern is a secret of the block's address. The seal is the pattern XOR the size in the upper 16 bits, and a product
of the size in the others. So it says that a block is live, how many bytes the caller may use, and that nobody wrote
behind them. A free block has none, so a second free finds zeros instead. No byte of a pattern is 0, so the zero behind
a string that is too long is seen, too.

When a small block is freed it is cleared, seal included. A block that is handed out must still be full of zeros, in its
first CHECKED bytes. What lies there instead was written after the free. So `calloc` need not clear it.
"""

from __future__ import annotations

from heapwright import bits, chance
from heapwright.allocators.wright import hardened, homes, records
from heapwright.allocators.wright.records import Block
from heapwright.layout import NULL, Atomic, Byte, Struct, Word, Word16, Word32

CHECKED = 1 << 10  # bytes
EDGE = 64  # bytes
COMMON = 1 << 10  # bytes of a block that waits among many
NO_ZERO = 0x0101010101010101  # bits of each pattern
SIZE = 48  # position of the size in a seal
SPREAD = 0x0000FEFEFEFEFEFE  # bits of a seal that depend on the size, too
MAX_LARGE = 1 << 19


class Seal(Struct):
    """The last word of a small block. Who frees the block behind it looks at it, too."""

    word: Atomic[Word]


class Edge(Struct):
    """A word of a block."""

    word: Word


class Odd(Struct):
    byte: Byte


class Half(Struct):
    half: Word16


class Quarter(Struct):
    quarter: Word32


# --- sizes


def padded(size):
    """The bytes to allocate for a request, with a pattern or a seal at the end unless the block is huge."""
    return max(size, hardened.SMALLEST - hardened.SEAL) + hardened.SEAL if size <= MAX_LARGE - hardened.SEAL else size


def pattern_at(memory, address):
    """The word behind a block at this address."""
    word = bits.wrapping_mul(address ^ hardened.key_of(memory, address), chance.SECOND_FACTOR)
    return (word ^ bits.shift_right(word, 32)) | NO_ZERO


# --- patterns


def part(pattern, place):
    """A pattern without the bytes before a place in its word."""
    return bits.shift_right(pattern, (place & 7) << 3)


def draw_edge(memory, end, limit, pattern):
    """Write the pattern behind the end of a block: up to the next word, and in EDGE bytes from there, up to a limit.

    The word around the end is not touched as a whole, because the caller's bytes in it need not be written yet.
    """
    if end & 1 != 0:
        Odd(memory, end).byte = part(pattern, end) & 0xFF
    second = bits.align_up(end, 2)
    if second & 2 != 0:
        Half(memory, second).half = part(pattern, second) & 0xFFFF
    third = bits.align_up(second, 4)
    if third & 4 != 0:
        Quarter(memory, third).quarter = part(pattern, third) & 0xFFFFFFFF
    word = bits.align_up(third, 8)
    for place in range(word, min(word + EDGE, limit), 8):
        Edge(memory, place).word = pattern


def has_edge(memory, end, limit, pattern):
    """Whether the pattern is still there."""
    changed = 0
    if end & 1 != 0:
        changed = (Odd(memory, end).byte ^ part(pattern, end)) & 0xFF
    second = bits.align_up(end, 2)
    if second & 2 != 0:
        changed |= (Half(memory, second).half ^ part(pattern, second)) & 0xFFFF
    third = bits.align_up(second, 4)
    if third & 4 != 0:
        changed |= (Quarter(memory, third).quarter ^ part(pattern, third)) & 0xFFFFFFFF
    word = bits.align_up(third, 8)
    for place in range(word, min(word + EDGE, limit), 8):
        changed |= Edge(memory, place).word ^ pattern
    return changed == 0


# --- small blocks


def seal_of(memory, address, room):
    return Seal(memory, address + room - hardened.SEAL)


def is_small(memory, address, word, room):
    """Whether a word seals a block of at most `room` bytes at an address."""
    size = size_in(memory, address, word)
    return size <= room - hardened.SEAL and word ^ pattern_at(memory, address) == mark_of(size)


def size_in(memory, address, word):
    """The size in a seal."""
    return bits.shift_right(word ^ pattern_at(memory, address), SIZE)


def mark_of(size):
    """What a size changes in a pattern, to make a seal of it."""
    return (bits.wrapping_mul(size, chance.FIRST_FACTOR) & SPREAD) ^ (size << SIZE)


def close(memory, address, room, size):
    """Seal a block for a caller that asked for `size` bytes. Behind them are zeros."""
    seal, pattern = seal_of(memory, address, room), pattern_at(memory, address)
    draw_edge(memory, address + size, seal.address, pattern)
    seal.word.store(pattern ^ mark_of(size))


def require_start(heap, address, slab):
    """Report an address at which no block of a slab begins, and one that was never handed out."""
    offset = address - records.start_of(slab)
    number = offset * heap.known.inverses[records.class_in(slab)] >> hardened.LOG2_INVERSE
    if offset != number * slab.size:
        heap.memory.fault("no block begins here", address)
    if number >= slab.carved:
        heap.memory.fault("not a live block", address)


def size_of_small(heap, address, slab):
    """The size that the caller of a live block asked for; report any other address of the slab."""
    require_start(heap, address, slab)
    word = seal_of(heap.memory, address, slab.size).word.load()
    if not is_small(heap.memory, address, word, slab.size):
        report_unsealed(heap, address, word)
    return size_in(heap.memory, address, word)


def report_unsealed(heap, address, word):
    """Report a block that has no seal, or a broken one."""
    if word == 0:
        heap.memory.fault("double free", address)
    heap.memory.fault("written behind its end", address)


def checked_small(heap, address, slab):
    """The same, after a look at the bytes behind and before the block."""
    size = size_of_small(heap, address, slab)
    limit = seal_of(heap.memory, address, slab.size).address
    if not has_edge(heap.memory, address + size, limit, pattern_at(heap.memory, address)):
        heap.memory.fault("written behind its end", address, size)
    require_neighbour(heap, address, slab.size, size)
    return size


def require_neighbour(heap, address, room, size):
    """Report that the seal of the block before this one is neither whole nor absent. Tiles have none before them."""
    if not bits.is_aligned(address, records.TILE) and address & (records.TILE - 1) >= room:
        word = Seal(heap.memory, address - hardened.SEAL).word.load()
        if word != 0 and not is_small(heap.memory, address - room, word, room):
            heap.memory.fault("written before its start", address, size)


def clear(heap, address, room):
    """Clear a block that is freed, its seal first."""
    seal_of(heap.memory, address, room).word.store(0)
    heap.memory.fill(address, room - hardened.SEAL, 0)


def require_clear(heap, address, room):
    """Report a block, about to be handed out, that was written to; leave no link in it."""
    found = seal_of(heap.memory, address, room).word.load()
    for place in range(address + 8, address + min(room - hardened.SEAL, CHECKED), 8):
        found |= Edge(heap.memory, place).word
    if found != 0:
        heap.memory.fault("written after it was freed", address)
    Edge(heap.memory, address).word = 0


def reclose(heap, address, room, size, new_size):
    """Change the size of a block that stays where it is."""
    seal = seal_of(heap.memory, address, room)
    end = address + min(size, new_size)
    heap.memory.fill(end, seal.address - end, 0)
    close(heap.memory, address, room, new_size)


# --- large blocks


def close_large(heap, address, run, size):
    run.left = size
    draw_edge(heap.memory, address + size, address + records.bytes_of(run), pattern_at(heap.memory, address))


def checked_large(heap, address, run):
    """The size that the caller of a live block asked for, after a look at the bytes behind it."""
    limit = address + records.bytes_of(run)
    if not has_edge(heap.memory, address + run.left, limit, pattern_at(heap.memory, address)):
        heap.memory.fault("written behind its end", address, run.left)
    return run.left


# --- blocks that wait


def wait(heap, address, room):
    """Let a freed block wait in its thread's home; return the one that has waited longest, or NULL.

    A block of a thread without a home does not wait.
    """
    home = homes.Home(heap.memory, heap.memory.local(homes.MINE))
    if not home:
        return address
    is_common = 1 if room <= COMMON else 0
    turn = home.turn[is_common]
    place = turn + hardened.FEW * is_common
    longest = home.waiting[place]
    home.waiting[place] = address
    home.turn[is_common] = (turn + 1) & (hardened.MANY - 1 if is_common else hardened.FEW - 1)
    if longest != NULL:
        require_no_link(heap, longest)
    return longest


def require_no_link(heap, address):
    """Report a block that was written to where its link is going to be."""
    if Edge(heap.memory, address).word != 0:
        heap.memory.fault("written after it was freed", address)


def slab_of_waiting(heap, home, place):
    """The slab of a block that waits; null if none does at this place."""
    address = home.waiting[place]
    record = records.Record(heap.memory, NULL)
    return records.head_of(records.record_of(heap, address)) if address != NULL else record


def end_wait(heap, home, place):
    """Take a block that waits."""
    address = home.waiting[place]
    require_no_link(heap, address)
    home.waiting[place] = NULL
    return Block(heap.memory, address)


# --- new blocks


def carve_shuffled(slab, first, count):
    """List new blocks in a random order, which follows from the secret and the place in the segment.

    Their second words hold the order meanwhile (R. Durstenfeld, Algorithm 235: Random permutation, 1964).
    """
    if slab.is_fresh == 0:
        slab.memory.fill(first, count * slab.size, 0)
    state = hardened.key_of(slab.memory, first) ^ (first & (records.SEGMENT - 1))
    for i in range(count):
        nth(slab, first, i).second = i
    for i in range(count - 1, 0, -1):
        state = bits.wrapping_add(state, chance.GAMMA)
        one, other = nth(slab, first, i), nth(slab, first, chance.below(chance.mixed(state), i + 1))
        number = one.second
        one.second = other.second
        other.second = number
    for i in range(count):
        block = nth(slab, first, nth(slab, first, i).second)
        records.link(block, slab.free)
        slab.free = block
    for i in range(count):
        nth(slab, first, i).second = 0


def nth(slab, first, number):
    return Block(slab.memory, first + number * slab.size)


# --- for `check` only


def sealed_among(memory, blocks, room):
    """The blocks that end with a seal, and those that end with neither a seal nor zeros, doubled."""
    found = []
    for address in blocks:
        word = seal_of(memory, address, room).word.load()
        found += [address] * (0 if word == 0 else 1 if is_small(memory, address, word, room) else 2)
    return found
