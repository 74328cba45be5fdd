"""A malloc to run or measure, and the environment that reaches it."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from pathlib import Path

TUNING = re.compile(r"GLIBC_TUNABLES|SCUDO_OPTIONS|(?!PYTHON).*MALLOC.*")  # what mallocs read


@dataclass(frozen=True)
class Contestant:
    """A malloc to run or measure: its name, its library (None for the C library), and its own environment."""

    name: str
    library: Path | None
    settings: tuple[tuple[str, str], ...] = ()
    is_ours: bool = False  # whether heapwright compiled it
    inherits: bool = True  # whether variables of the process that starts it reach the malloc

    @property
    def environment(self) -> dict[str, str]:
        """The variables that reach the malloc: the caller's that tune mallocs, overridden by its own."""
        return (caller_tuning() if self.inherits else {}) | dict(self.settings)

    def with_its_environment(self) -> Contestant:
        """The same with the environment that it has here, to be started by a process with another one."""
        return replace(self, settings=tuple(self.environment.items()), inherits=False)


def caller_tuning() -> dict[str, str]:
    """The variables in this process's environment that tune mallocs."""
    return {name: value for name, value in sorted(os.environ.items()) if TUNING.fullmatch(name)}
