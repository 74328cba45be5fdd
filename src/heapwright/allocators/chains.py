"""Lists of structs, linked by `next`, and by `previous` too where members leave from anywhere; null ends them."""

from __future__ import annotations

from heapwright.layout import NULL


def pushed(first, member):
    """The list with a member put before its first one: its new first member."""
    member.previous = NULL
    member.next = first
    if first:
        first.previous = member
    return member


def removed(first, member):
    """The list without a member: its new first member."""
    if member.next:
        member.next.previous = member.previous
    if member.previous:
        member.previous.next = member.next
        return first
    return member.next


# --- for what looks at a heap, and never for what runs in it


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
