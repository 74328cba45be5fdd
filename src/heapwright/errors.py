"""What a user can mend."""

from __future__ import annotations


class Mendable(Exception):
    """An error whose text is one line that says what is wrong and what to do: the command line shows just that."""
