"""The seals of a hardened heap, and the checks of a block when it is freed and when it is handed out.

         small block -> +---------------------+        large block -> +---------------------+
                        | the caller's bytes  |                       | the caller's bytes  |
         size asked for +---------------------+        size asked for +---------------------+
                        | pattern             |  up to 71 bytes       | pattern             |  8 to 71 bytes
                        | zeros               |                       | anything            |
           its last 8 B | seal                |                       +---------------------+
                        +---------------------+          the size is in the record of its first tile

The pattern is a secret of the block's address and size. A seal is made of it and of the segment's secret:

    bit 63              56 55            40 39                             0
      +-------------------+----------------+-------------------------------+
      | secret            | size ^ secret  | the upper bits of the pattern |
      +-------------------+----------------+-------------------------------+

So it says that a block is live, how many bytes the caller may use, and that nobody wrote behind them. A free block has
none, so a second free finds zeros instead. The first byte before a block is the upper one of a seal; a free looks at
it. It is not ASCII, and no byte of a pattern is 0, so the zero behind a string that is too long is seen, too. The
pattern of a large block does not depend on its size.

When a small block is freed it is cleared, seal included. A block that is handed out must still be full of zeros, in its
first CHECKED bytes. What lies there instead was written after the free. So `calloc` need not clear it.
"""

from __future__ import annotations

from heapwright import bits, chance
from heapwright.allocators.wright import classes, hardened, homes, records
from heapwright.allocators.wright.records import Block
from heapwright.layout import NULL, Atomic, Struct, Word

CHECKED = 1 << 10  # bytes
EDGE = 64  # bytes
WINDOW = 32  # bytes that are cleared, or looked at, together
COMMON = 1 << 10  # bytes of a block that waits among many
NO_ZERO = 0x0101010101010101  # bits of each pattern
SIZE, MARK = 40, 56  # positions of the size and of the secret in a seal
MAX_SIZE = (1 << (MARK - SIZE)) - 1
LENGTH = 47  # position of the size in what the pattern is made of, above the bits of an address
UPPER = -1 << SIZE  # the bits of a seal that the pattern does not have
OTHERS = 24  # the pattern's first bit that is in a seal
QUICK = classes.MAX_LINEAR - hardened.SEAL + 1  # exclusive limit of the sizes of linear classes
MAX_LARGE = 1 << 19


class Seal(Struct):
    """The last word of a small block. Who frees the block behind it looks at it, too."""

    word: Atomic[Word]


class Edge(Struct):
    """A word of a block."""

    word: Word


class Words(Struct):
    """Words side by side, which are cleared and looked at together."""

    first: Word
    second: Word
    third: Word
    fourth: Word


# --- sizes


def padded(size):
    """The bytes to allocate for a request, so that there is a pattern or a seal at the end, or the block is huge."""
    if size > MAX_LARGE - hardened.SEAL:
        return max(size, MAX_LARGE + 1)
    return max(size, hardened.SMALLEST - hardened.SEAL) + hardened.SEAL


# --- patterns


def pattern_of(key, address, size):
    """The word behind a small block of a size, or with 0 for the size behind a large one, in a segment with a key."""
    word = bits.wrapping_mul(key ^ address ^ size << LENGTH, chance.SECOND_FACTOR)
    return (word ^ bits.shift_right(word, 32)) | NO_ZERO


def draw_edge(memory, end, limit, pattern):
    """Write the pattern behind an end: up to the next word, and in words that begin less than EDGE bytes behind it."""
    memory.store_tail(end, pattern)
    place, limit = bits.align_down(end, 8) + 8, min(end + EDGE, limit)
    while place < limit:
        Edge(memory, place).word = pattern
        place += 8


def has_edge(memory, end, limit, pattern):
    """Whether the pattern is still there. Nothing is between an end and its limit if they are the same."""
    changed = 0
    if end < limit:
        changed = memory.load_tail(end) ^ (pattern & -1 << ((end & 7) << 3))
        place, limit = bits.align_down(end, 8) + 8, min(end + EDGE, limit)
        while place < limit:
            changed |= Edge(memory, place).word ^ pattern
            place += 8
    return changed == 0


# --- small blocks


def seal_of(memory, address, room):
    return Seal(memory, address + room - hardened.SEAL)


def size_in(key, word):
    """The size in a seal."""
    return bits.shift_right(word ^ key, SIZE) & MAX_SIZE


def seal_with(key, pattern, size):
    """The seal of a block with a pattern and a size."""
    return (bits.shift_right(pattern, OTHERS) | size << SIZE) ^ (key & UPPER)


def is_seal(key, address, word):
    """Whether a word seals a block at an address."""
    size = size_in(key, word)
    return word == seal_with(key, pattern_of(key, address, size), size)


def close(memory, address, room, size):
    """Seal a block for a caller that asked for `size` bytes. Behind them are zeros."""
    seal, key = seal_of(memory, address, room), hardened.key_of(memory, address)
    pattern = pattern_of(key, address, size)
    draw_edge(memory, address + size, seal.address, pattern)
    seal.word.store(seal_with(key, pattern, size))


def is_whole(memory, address, room, word):
    """Whether the word that ends a block is its seal, and the bytes up to there are the pattern."""
    key = hardened.key_of(memory, address)
    size = size_in(key, word)
    pattern = pattern_of(key, address, size)
    if word != seal_with(key, pattern, size):
        return False
    return has_edge(memory, address + size, address + room - hardened.SEAL, pattern)


def has_good_neighbour(memory, address):
    """Whether the seal of the block before this one ends as it should, or is absent."""
    word = Seal(memory, address - hardened.SEAL).word.load()
    return word == 0 or bits.shift_right(word ^ hardened.key_of(memory, address), MARK) == 0


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
    word, key = seal_of(heap.memory, address, slab.size).word.load(), hardened.key_of(heap.memory, address)
    if word == 0:
        heap.memory.fault("double free", address)
    if not is_seal(key, address, word):
        heap.memory.fault("written behind its end", address)
    return size_in(key, word)


def checked_small(heap, address, slab):
    """The same, after a look at the bytes behind and before the block."""
    size, room = size_of_small(heap, address, slab), slab.size
    if not is_whole(heap.memory, address, room, seal_of(heap.memory, address, room).word.load()):
        heap.memory.fault("written behind its end", address, size)
    if address != records.start_of(slab) and not has_good_neighbour(heap.memory, address):
        heap.memory.fault("written before its start", address, size)
    return size


def clear(memory, address, room):
    """Clear a block that is freed, its seal first."""
    seal_of(memory, address, room).word.store(0)
    memory.fill(address, room - hardened.SEAL, 0)


def clear_quickly(memory, address, room):
    """The same for a block of a linear class. At most two words are cleared twice."""
    seal_of(memory, address, room).word.store(0)
    place, last = address, address + room - WINDOW
    while place < last:
        words = Words(memory, place)
        words.first = words.second = words.third = words.fourth = 0
        place += WINDOW
    words = Words(memory, last)
    words.first = words.second = words.third = 0


def is_clear(memory, address, room):
    """Whether a block that is about to be handed out has only zeros behind its link, in its first CHECKED bytes."""
    return seal_of(memory, address, room).word.load() == 0 and has_zeros(memory, address, min(room, CHECKED))


def has_zeros(memory, address, room):
    """The same for a block of a linear class, or a part of another one of such a size. Some words are read twice."""
    words = Words(memory, address)
    found = words.second | words.third | words.fourth
    place, end = address + WINDOW - (room & 16), address + room
    while place < end:
        words = Words(memory, place)
        found |= words.first | words.second | words.third | words.fourth
        place += WINDOW
    return found == 0


def take_clear(hot, address, room):
    """Take the first block of a list, if nobody wrote to it; return whether that is so."""
    following = hardened.decoded(hot.memory, address)
    if following & hardened.NEVER != 0 or not has_zeros(hot.memory, address, room):
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
    seal, end = seal_of(heap.memory, address, room), address + min(size, new_size)
    heap.memory.fill(end, min(address + size + EDGE + 8, seal.address) - end, 0)
    close(heap.memory, address, room, new_size)


# --- large blocks


def pattern_behind(memory, address):
    """The word behind a large block."""
    return pattern_of(hardened.key_of(memory, address), address, 0)


def close_large(heap, address, run, size):
    run.left = size
    draw_edge(heap.memory, address + size, address + records.bytes_of(run), pattern_behind(heap.memory, address))


def checked_large(heap, address, run):
    """The size that the caller of a live block asked for, after a look at the bytes behind it."""
    limit = address + records.bytes_of(run)
    if not has_edge(heap.memory, address + run.left, limit, pattern_behind(heap.memory, address)):
        heap.memory.fault("written behind its end", address, run.left)
    return run.left


def clear_start(memory, address):
    """Clear the first bytes of a large block that is freed."""
    memory.fill(address, CHECKED, 0)


def require_clear_start(heap, address):
    """Report a freed large block that was written to."""
    if Edge(heap.memory, address).word != 0 or not has_zeros(heap.memory, address, CHECKED):
        heap.memory.fault("written after it was freed", address)


# --- blocks that wait


def wait(heap, address, room):
    """Let a freed block wait in its thread's home; return the one that has waited longest, or NULL.

    A block of a thread without a home does not wait.
    """
    home = homes.Home(heap.memory, heap.memory.local(homes.MINE))
    if not home:
        return address
    return swap(heap, home, 1, address) if room <= COMMON else swap(heap, home, 0, address)


def swap(heap, home, is_common, address):
    """Put a block in the place of the one that has waited longest, among the many or the few."""
    turn = home.turn[is_common]
    place = turn + hardened.FEW * is_common
    longest = home.waiting[place]
    home.waiting[place] = address
    home.turn[is_common] = (turn + 1) & (hardened.MANY - 1 if is_common != 0 else hardened.FEW - 1)
    if longest != NULL:
        require_no_link(heap, longest)
    return longest


def swap_common(heap, address):
    """Let a block of a linear class wait, if the thread has a home; return the one that has waited longest, or NULL."""
    return swap(heap, homes.Home(heap.memory, heap.memory.local(homes.MINE)), 1, address)


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
        found += [address] * (0 if word == 0 else 1 if is_seal(hardened.key_of(memory, address), address, word) else 2)
    return found
