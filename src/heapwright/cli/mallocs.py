"""Help for `-a` in the commands that take any malloc, and a line about environment variables that mallocs read."""

from __future__ import annotations

from collections.abc import Mapping

HELP = "The malloc, in one of the forms below."
EPILOG = """\b
Mallocs, as -a takes them:
  kr  mine.py  ./mine/  locked(kr)  an allocator: a name, a file, a folder, or a stack
  guarded[RATE=100](hoard)          a layer or an allocator with other values of its tunables
  system                            the C library's malloc
  jemalloc  mimalloc  tcmalloc      an installed peer; `heapwright doctor` lists them
  LABEL=/path/lib.so                any library that exports malloc
  system{MALLOC_ARENA_MAX=1}        any of these, with its own environment variables
"""


def environment_line(environment: Mapping[str, str]) -> str:
    """One line with the caller's environment variables that reach every malloc, or "" if there are none."""
    if not environment:
        return ""
    settings = ", ".join(f"{name}={value}" for name, value in environment.items())
    return f"every malloc gets {settings} from your environment"
