"""Null-terminated lists of structs, linked by `next`, and also by `previous` where any member may leave."""

from __future__ import annotations

from heapwright.layout import NULL


def pushed(first, member):
    """Put a member before the first one of a list; return the new first member."""
    member.previous = NULL
    member.next = first
    if first:
        first.previous = member
    return member


def removed(first, member):
    """Remove a member from a list; return the new first member."""
    if member.next:
        member.next.previous = member.previous
    if member.previous:
        member.previous.next = member.next
        return first
    return member.next


# --- for inspection only; allocators do not call these


def chain_of(first):
    """The members of a list, in its order."""
    while first:
        yield first
        first = first.next


def is_linked_back(first):
    """Whether each member's `previous` is the member before it, and null in the first."""
    before = first.at(0)
    for member in chain_of(first):
        if member.previous != before:
            return False
        before = member
    return True
