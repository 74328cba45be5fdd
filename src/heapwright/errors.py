"""What a user can mend."""

from __future__ import annotations

from collections.abc import Collection
from difflib import get_close_matches


class Mendable(Exception):
    """An error whose text is one line that says what is wrong and what to do: the command line shows just that."""


def suggestion(name: str, known: Collection[str], otherwise: str = "") -> str:
    """What a wrong name may have meant; else what there is, or `otherwise`."""
    close = get_close_matches(name, known, 1)
    if close:
        return f"did you mean '{close[0]}'?"
    return otherwise or f"there are {', '.join(known)}, or a path ending in .py"
