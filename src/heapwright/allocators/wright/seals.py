"""The seals of a hardened heap, and the checks of a block when it is freed and when it is handed out.

         small block -> +---------------------+        large block -> +---------------------+
                        | the caller's bytes  |                       | the caller's bytes  |
         size asked for +---------------------+        size asked for +---------------------+
                        | pattern             |                       | pattern             |  8 to 71 bytes
                        | zeros, above 1 KiB  |                       | anything            |
           its last 8 B | seal                |                       +---------------------+
                        +---------------------+          the size is in the record of its first tile

A seal is the segment's secret, changed by the block's size and a product of its address:

    bit 63              56 55            40 39                             0
      +-------------------+----------------+-------------------------------+
      | secret            | secret ^ size  | secret ^ upper bits of the    |
      |                   |                | product                       |
      +-------------------+----------------+-------------------------------+

So it says that a block is live, how many bytes the caller may use, and that nobody wrote behind them. A free block has
none, so a second free finds zeros instead. The first byte before a block is the upper one of a seal; a free looks at
it. It is not ASCII. The pattern is a product of the seal without a byte that is 0, so the zero behind a string that is
too long is seen, too, and a seal with another size has another pattern. That of a large block does not depend on its
size.

When a small block is freed it is cleared, seal included. A block that is handed out must still be full of zeros, in its
first CHECKED bytes. What lies there instead was written after the free. So `calloc` need not clear it.
"""

from __future__ import annotations

from heapwright import bits, chance
from heapwright.allocators.wright import hardened, homes, known_segments, records, zeros
from heapwright.allocators.wright.records import Block
from heapwright.layout import NULL, Atomic, Struct, Word

CHECKED = 1 << 10  # bytes
EDGE = 64  # bytes
MAX_LARGE = 1 << 19
COMMON = 1 << 10  # bytes of a block that waits among many
NO_ZERO = 0x0101010101010101  # bits of each pattern
MIXER = 0x2545F491  # odd, and each byte of it has bits that change the ones above it
SIZE, MARK = 40, 56  # positions of the size and of the secret alone in a seal
MAX_SIZE = (1 << (MARK - SIZE)) - 1
OTHERS = 64 - SIZE  # the first bit of an address's product that is in a seal


class Seal(Struct):
    """The last word of a small block. Who frees the block behind it looks at it, too."""

    word: Atomic[Word]


class Edge(Struct):
    """A word of a block."""

    word: Word


# --- sizes


def padded(size):
    """The bytes to allocate for a request, so that there is a pattern or a seal at the end.

    Only whole megabytes have none: a page more would leave an odd range when they are freed.
    """
    if size > MAX_LARGE and bits.is_aligned(size, records.SEGMENT):
        return size
    return max(size, hardened.SMALLEST - hardened.SEAL) + hardened.SEAL


def room_for(size):
    """The size of a block of a linear class, or what no class has for one that is larger, or that no memory has."""
    least = hardened.SMALLEST - hardened.SEAL
    size = size if bits.unsigned_less(least, size) else least
    return bits.wrapping_add(size, hardened.SEAL + records.ALIGN - 1) & -records.ALIGN


# --- seals and patterns


def seal_with(key, address, size):
    """The seal of a block of a size, in a segment with a key."""
    return key ^ bits.shift_right(bits.wrapping_mul(address, hardened.FACTOR), OTHERS) ^ size << SIZE


def size_sealed(key, address, word):
    """The size of which a word is the seal; no size at all, as an unsigned number, if it is no seal of this block."""
    plain = word ^ seal_with(key, address, 0)
    return bits.shift_right(plain, SIZE) | bits.wrapping_mul(plain, 1 << OTHERS)


def size_in(key, word):
    """The size in a seal."""
    return bits.shift_right(word ^ key, SIZE) & MAX_SIZE


def pattern_of(seal):
    """The word behind a block with a seal."""
    return bits.wrapping_mul(seal, MIXER) | NO_ZERO


def draw_edge(memory, end, limit, pattern):
    """Write the pattern behind an end, up to a limit."""
    memory.store_tail(end, pattern)
    draw_words(memory, bits.align_down(end, 8) + 8, limit, pattern)


def draw_words(memory, place, limit, pattern):
    while place < limit:
        Edge(memory, place).word = pattern
        place += 8


def has_edge(memory, end, limit, pattern):
    """Whether the pattern is still there. Nothing is between an end and its limit if they are the same."""
    if end == limit:
        return True
    changed = memory.load_tail(end) ^ behind(end, pattern)
    return changed == 0 and has_words(memory, bits.align_down(end, 8) + 8, limit, pattern)


def has_words(memory, place, limit, pattern):
    changed = 0
    while place < limit:
        changed |= Edge(memory, place).word ^ pattern
        place += 8
    return changed == 0


def behind(end, word):
    """The bytes of a word that lie behind an end."""
    return word & -1 << ((end & 7) << 3)


def limit_of(end, place, room):
    """Where the pattern behind an end stops, in a block of some room with a seal at a place."""
    return place if room < homes.FAST else min(end + EDGE, place)


# --- small blocks


def seal_of(memory, address, room):
    return Seal(memory, address + room - hardened.SEAL)


def close(memory, address, room, size):
    """Seal a block for a caller that asked for `size` bytes. Behind them are zeros."""
    seal, word = seal_of(memory, address, room), seal_with(hardened.key_of(memory, address), address, size)
    end = address + size
    draw_edge(memory, end, limit_of(end, seal.address, room), pattern_of(word))
    seal.word.store(word)


def close_quickly(memory, key, address, room, size):
    """The same for a block that has only zeros. Few sizes have an edge of more than two words, so that the processor
    need not guess; what is written where the seal belongs is overwritten."""
    seal, word, end = seal_of(memory, address, room), seal_with(key, address, size), address + size
    pattern, place = pattern_of(word), bits.align_down(end, 8)
    Edge(memory, min(place + 8, seal.address)).word = pattern
    Edge(memory, place).word = behind(end, pattern)
    draw_words(memory, place + 16, seal.address, pattern)
    seal.word.store(word)


def is_whole(memory, address, room, size, word):
    """Whether the bytes between a block's end and its seal are the pattern."""
    end = address + size
    return has_edge(memory, end, limit_of(end, address + room - hardened.SEAL, room), pattern_of(word))


def is_quickly_whole(memory, address, room, size, word):
    """The same for a block of a linear class. Two words are compared, with the seal if they are not before it."""
    end, last, pattern = address + size, address + room - hardened.SEAL, pattern_of(word)
    place = bits.align_down(end, 8)
    following = min(place + 8, last)
    changed = memory.load_tail(end) ^ behind(end, word if place == last else pattern)
    changed |= Edge(memory, following).word ^ (word if following == last else pattern)
    return changed == 0 and has_words(memory, place + 16, last, pattern)


def has_good_neighbour(memory, key, address):
    """Whether the seal of the block before this one ends as it should, or is absent."""
    word = Seal(memory, address - hardened.SEAL).word.load()
    return word == 0 or bits.shift_right(word ^ key, MARK) == 0


def require_start(heap, address, slab):
    """Report an address at which no block of a slab begins, and one that was never handed out."""
    offset = address - records.start_of(slab)
    number = known_segments.quotient(heap, records.class_in(slab), offset)
    if offset != number * slab.size:
        heap.memory.fault("no block begins here", address)
    if number >= slab.carved:
        heap.memory.fault("not a live block", address)


def size_of_small(heap, address, slab):
    """The size that the caller of a live block asked for; report any other address of the slab."""
    require_start(heap, address, slab)
    word = seal_of(heap.memory, address, slab.size).word.load()
    if word == 0:
        heap.memory.fault("double free", address)
    size = size_sealed(hardened.key_of(heap.memory, address), address, word)
    if not bits.unsigned_less(size, slab.size - hardened.SEAL + 1):
        heap.memory.fault("written behind its end", address)
    return size


def checked_small(heap, address, slab):
    """The same, after a look at the bytes behind and before the block."""
    size, room = size_of_small(heap, address, slab), slab.size
    if not is_whole(heap.memory, address, room, size, seal_of(heap.memory, address, room).word.load()):
        heap.memory.fault("written behind its end", address, size)
    key = hardened.key_of(heap.memory, address)
    if address != records.start_of(slab) and not has_good_neighbour(heap.memory, key, address):
        heap.memory.fault("written before its start", address, size)
    return size


def clear(memory, address, room):
    """Clear a block that is freed, its seal first."""
    seal_of(memory, address, room).word.store(0)
    memory.fill(address, room - hardened.SEAL, 0)


def clear_quickly(memory, address, room):
    """The same for a block of a linear class."""
    seal_of(memory, address, room).word.store(0)
    zeros.clear(memory, address, room)


def is_clear(memory, address, room):
    """Whether a block that is about to be handed out has only zeros behind its link, in its first CHECKED bytes."""
    return seal_of(memory, address, room).word.load() == 0 and zeros.are_in(memory, address, min(room, CHECKED))


def take_clear(hot, key, address, room):
    """Take the first block of a list, if nobody wrote to it; return whether that is so."""
    following = hardened.decoded(hot.memory, key, address)
    if following & hardened.NEVER != 0 or not zeros.are_in(hot.memory, address, room):
        return False
    hot.first = Block(hot.memory, following)
    Edge(hot.memory, address).word = 0
    return True


def require_clear(heap, address, room):
    """Report a block, about to be handed out, that was written to; leave no link in it."""
    if not is_clear(heap.memory, address, room):
        heap.memory.fault("written after it was freed", address)
    Edge(heap.memory, address).word = 0


def reclose(heap, address, room, size, new_size):
    """Change the size of a block that stays where it is, and clear its old edge."""
    end, seal = address + min(size, new_size), seal_of(heap.memory, address, room)
    heap.memory.fill(end, min(limit_of(address + size, seal.address, room) + 8, seal.address) - end, 0)
    close(heap.memory, address, room, new_size)


# --- large blocks


def pattern_behind(memory, address):
    """The word behind a large block."""
    return pattern_of(seal_with(hardened.key_of(memory, address), address, 0))


def close_large(heap, address, run, size):
    run.left = size
    end, limit = address + size, address + records.bytes_of(run)
    draw_edge(heap.memory, end, min(end + EDGE, limit), pattern_behind(heap.memory, address))


def checked_large(heap, address, run):
    """The size that the caller of a live block asked for, after a look at the bytes behind it."""
    end, limit = address + run.left, address + records.bytes_of(run)
    if not has_edge(heap.memory, end, min(end + EDGE, limit), pattern_behind(heap.memory, address)):
        heap.memory.fault("written behind its end", address, run.left)
    return run.left


def clear_start(memory, address):
    """Clear the first bytes of a large block that is freed."""
    memory.fill(address, CHECKED, 0)


def require_clear_start(heap, address):
    """Report a freed large block that was written to."""
    if Edge(heap.memory, address).word != 0 or not zeros.are_in(heap.memory, address, CHECKED):
        heap.memory.fault("written after it was freed", address)


# --- blocks that wait


def place_among(home, is_common):
    """The place of the block that has waited longest, among the many or the few. It is the one to replace now."""
    turn = home.turn[is_common]
    home.turn[is_common] = (turn + 1) & (hardened.MANY - 1 if is_common != 0 else hardened.FEW - 1)
    return home.waiting[turn + hardened.FEW * is_common]


def require_no_link(heap, address):
    """Report a block that was written to where its link is going to be."""
    if Edge(heap.memory, address).word != 0:
        heap.memory.fault("written after it was freed", address)


def slab_of_waiting(heap, home, place):
    """The slab of a block that waits; null if none does at this place."""
    address = home.waiting[place].block
    record = records.Record(heap.memory, NULL)
    return records.head_of(records.record_of(heap, address)) if address != NULL else record


def end_wait(heap, home, place):
    """Take a block that waits."""
    address = home.waiting[place].block
    require_no_link(heap, address)
    home.waiting[place].block = NULL
    return Block(heap.memory, address)


# --- new blocks


def carve_shuffled(slab, first, count):
    """List new blocks in a random order, which follows from the secret and the place in the segment. The slab has no
    other free ones.

    Their second words hold the order meanwhile (R. Durstenfeld, Algorithm 235: Random permutation, 1964).
    """
    if slab.is_fresh == 0:
        slab.memory.fill(first, count * slab.size, 0)
    else:
        # The page that the last block ends in would be read first: a page fault, and one more when it is written.
        seal_of(slab.memory, first + (count - 1) * slab.size, slab.size).word.store(0)
    state = hardened.key_of(slab.memory, first) ^ (first & (records.SEGMENT - 1))
    for i in range(count):
        nth(slab, first, i).second = i
    last = slab.free.at(NULL)
    for i in range(count - 1, -1, -1):
        state = bits.wrapping_add(state, chance.GAMMA)
        chosen = nth(slab, first, chance.below(chance.mixed(state), i + 1))
        block = nth(slab, first, take_number(nth(slab, first, i), chosen))
        if last:
            records.link(last, block)
        else:
            slab.free = block
        last = block
    records.link(last, last.at(NULL))


def take_number(upper, chosen):
    """Take the number in a chosen block, and put that of the uppermost one there; that one has none from now on."""
    number = chosen.second
    chosen.second = upper.second
    upper.second = 0
    return number


def nth(slab, first, number):
    return Block(slab.memory, first + number * slab.size)


# --- for `check` only


def sealed_among(memory, blocks, room):
    """The blocks that end with a seal, and those that end with neither a seal nor zeros, doubled."""
    found = []
    for address in blocks:
        word = seal_of(memory, address, room).word.load()
        size = size_sealed(hardened.key_of(memory, address), address, word)
        found += [address] * (0 if word == 0 else 1 if bits.unsigned_less(size, room) else 2)
    return found
