"""Errors that a user can correct."""

from __future__ import annotations

from collections.abc import Collection


class UserError(Exception):
    """An error whose text is one line that says what is wrong and what to do. The command line shows only this text."""


def suggestion(name: str, known: Collection[str], otherwise: str = "") -> str:
    """A clause with the known name most like a wrong one; if none is similar, `otherwise` or a list of known names."""
    from difflib import get_close_matches

    close = get_close_matches(name, known, 1)
    if close:
        return f"did you mean '{close[0]}'?"
    return otherwise or f"there are {', '.join(known)}, or a path: FILE.py or FOLDER/"


class AllocatorError(UserError):
    """An allocator cannot be found or loaded."""
