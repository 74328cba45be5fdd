"""heapwright's own sources, which may all go into a library, and the compiler: hashed to a digest.

This is all that a library without a stack of the user's depends on, so that a command finds one in the cache without
loading any allocator.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec, source_hash
from pathlib import Path

from heapwright.errors import UserError

PACKAGE = Path(__file__).parent.parent
# What no library contains; and allocators, which are found through the imports of a stack.
NEVER_COMPILED = {"allocators", "machine", "collections", "programs", "conformance", "lab", "live", "__pycache__"}
NEVER_COMPILED |= {"html", "report", "maps", "pictures", "advise", "grade", "stepper", "cli"}
NEVER_COMPILED |= {"traces/importers", "traces/exporters"}
NEVER_COMPILED |= {
    f"traces/{name}.py"
    for name in (
        *("call_sites", "calls", "code", "cut", "explained", "files", "format", "merge", "passing"),
        *("sampling", "sources", "symbol_cache", "symbols", "synthesize"),
    )
}


class BuildError(UserError):
    """A library that cannot be made. The text is one line that says what to do."""


class CannotBuild(BuildError):
    """No library can be made on this machine: something is missing, or cannot be written."""


@cache
def digest_of_compiler() -> bytes:
    """A digest of heapwright's own sources and of the compiler's versions. A process reads them once."""
    parts = [repr((sys.version_info[:2], release("numba"), release("llvmlite"))).encode()]
    for name in sorted(compiler_sources()):
        with open(f"{PACKAGE}/{name}", "rb") as file:  # in half of pathlib's time
            parts += name.encode(), file.read()
    return digest_of(b"".join(parts))


def digest_of(data: bytes) -> bytes:
    """A hash of 8 bytes. hashlib has longer ones, but a program would wait until OpenSSL is loaded."""
    return source_hash(data)


def key_of_compiler() -> str:
    """The key of a library that has no stack, or one of heapwright's own layers alone."""
    return digest_of_compiler().hex()


def compiler_sources() -> Iterator[str]:
    """All sources that may go into a library besides its stack, from the package on. New files are hashed by default.

    It is a walk that prunes, with names as strings: each command that starts a program waits for it.
    """
    for folder, folders, files in os.walk(PACKAGE):
        prefix = os.path.relpath(folder, PACKAGE) + "/" if folder != str(PACKAGE) else ""
        folders[:] = [each for each in folders if prefix + each not in NEVER_COMPILED]
        yield from (prefix + each for each in files if each.endswith(".py") and prefix + each not in NEVER_COMPILED)


def release(package: str) -> str:
    """A package's release, read from the name of the folder that its installer left next to it.

    `importlib.metadata.version` gives the same, but its import takes longer than everything else before a program
    starts.
    """
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise CannotBuild(f"{package} is not installed: pip install {package}")
    beside = sorted(Path(spec.origin).parent.parent.glob(f"{package}-*.dist-info"))
    return beside[0].name if beside else spec.origin
