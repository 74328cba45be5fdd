"""Numbers for stacks: a stack is its innermost frame and the stack of its caller. A new one is recorded once.

The table is a hash table with chains, without a lock: a stack is complete before its chain leads to it, and is never
removed. Two threads may find the same stack new at the same time; then it has two numbers.
"""

from __future__ import annotations

from heapwright.bits import wrapping_mul
from heapwright.layout import NULL
from heapwright.native.runtime.recorder import record
from heapwright.native.runtime.stacks.state import CHAINS, RECENT, Chain, Stack
from heapwright.traces.raw import UNKNOWN_SITE
from heapwright.traces.raw_stacks import STACK

MANY = 0x9E3779B97F4A7C15 - (1 << 64)
CHAINS_SHIFT, RECENT_SHIFT = 64 - 20, 64 - 8


def number_of_stack(sites, walk, words):
    """The number of a walk's stack. `words` are the thread's; they may be null."""
    known = 0
    parent = UNKNOWN_SITE
    total = walk.shared + walk.count
    if words:
        known, parent = shared_with_last(walk, words, total)
        words.count = known
    for i in range(known, total):
        value = walk.frames[total - 1 - i]
        stack = recent_or_known(sites, words, parent, value)
        if words:
            words.links[i] = 0
            words.values[i] = value
            words.links[i] = parent << 32 | stack
            words.count = i + 1
        parent = stack
        if stack == UNKNOWN_SITE:
            break
    if words and (parent == UNKNOWN_SITE or words.turn != walk.turn):
        words.steps = 0
    return parent


def shared_with_last(walk, words, total):
    """How many of the outermost frames are those of the thread's last stack, and the number of the stack of these."""
    count = walk.shared
    parent = words.links[count - 1] & 0xFFFFFFFF if count > 0 else UNKNOWN_SITE
    limit = min(words.count, total)
    while count < limit and words.values[count] == walk.frames[total - 1 - count]:
        link = words.links[count]
        if link >> 32 != parent or link == 0:
            break
        parent = link & 0xFFFFFFFF
        count += 1
    return count, parent


def recent_or_known(sites, words, parent, value):
    """The same as `number_under`. The table is large, so what the thread found lately is cheaper to find."""
    if not words:
        return number_under(sites, parent, value)
    place = wrapping_mul(value + wrapping_mul(parent, MANY), MANY) >> RECENT_SHIFT & RECENT - 1
    link = words.recent_links[place]
    if words.recent_values[place] == value and link >> 32 == parent and link != 0:
        return link & 0xFFFFFFFF
    stack = number_under(sites, parent, value)
    words.recent_links[place] = 0  # a signal handler may find stacks, too
    words.recent_values[place] = value
    words.recent_links[place] = parent << 32 | stack
    return stack


def number_under(sites, parent, value):
    """The number of the stack that a frame makes when it is called from `parent`; UNKNOWN_SITE if there is no room."""
    place = wrapping_mul(value + wrapping_mul(parent, MANY), MANY) >> CHAINS_SHIFT & CHAINS - 1
    chain = Chain(sites.memory, sites.first_chain + place * Chain.SIZE)
    first = chain.first.load()
    number = first
    while number != NULL:
        stack = Stack(sites.memory, sites.first_stack + number * Stack.SIZE)
        if stack.value == value and stack.parent == parent:
            return number
        number = stack.next
    return add(sites, chain, first, parent, value)


def add(sites, chain, first, parent, value):
    """Record a new stack, and then let its chain lead to it. Returns its number, or UNKNOWN_SITE without room."""
    number = sites.stacks.add(1) + 1
    if number >= sites.max_stacks:
        return UNKNOWN_SITE
    stack = Stack(sites.memory, sites.first_stack + number * Stack.SIZE)
    stack.value = value
    stack.parent = parent
    stack.next = first
    record(STACK, 0, value, parent, 0, number)
    while not chain.first.compare_exchange(first, number):
        first = chain.first.load()
        stack.next = first
    return number
