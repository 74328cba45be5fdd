"""Lists of structs, linked by `next`, for what looks at a heap and never for what runs in it."""

from __future__ import annotations


def chain_of(first):
    """The members of a list, in its order."""
    while first:
        yield first
        first = first.next


def is_linked_back(first):
    """Whether each member's `previous` is the one before it; that of the first is null."""
    before = first.at(0)
    for member in chain_of(first):
        if member.previous != before:
            return False
        before = member
    return True
