"""Functions, files and lines of addresses in binaries and libraries, by the library `symbolic`.

Debug information may lie in a file of its own, which the build ID or a section `.gnu_debuglink` names. A file that was
replaced since it was recorded has another build ID and is not asked.

Source: GDB's manual, Debugging Information in Separate Files.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from heapwright import elf
from heapwright.traces.stacks import Frame
from heapwright.traces.symbol_cache import SymbolCache

DEBUG = Path("/usr/lib/debug")
COPY = re.compile(r"\.(?:cold|constprop|isra|part|lto_priv|llvm)(?:\.\w+)*$")
RUST_HASH, HASH = re.compile(r"17h[0-9a-f]{16}E$"), re.compile(r"::h[0-9a-f]{16}$")


class ModuleFile(NamedTuple):
    """A binary or library."""

    path: str
    build_id: str = ""  # in hexadecimal digits


class Symbols:
    """Looks up addresses. Each module is read once, and a large one only in the first run, if there is a cache."""

    def __init__(self, debug_folder: Path = DEBUG, kept: SymbolCache | None = None):
        self._debug_folder, self._kept = debug_folder, kept
        self._table = cache(self._open)
        self._demangled = cache(demangled)

    def frames(self, module: ModuleFile, address: int) -> list[Frame]:
        """The function at an address of a module's file, after the functions that are inlined there."""
        table = self._table(module)
        found = table.lookup(address - table.base) if table else []
        frames = [self._frame(module, place, place is not found[-1]) for place in found if place.symbol]
        return frames or [Frame(f"{Path(module.path).name or '?'}+{address:#x}", module=module.path)]

    def _frame(self, module: ModuleFile, place: Any, is_inlined: bool) -> Frame:
        name = self._demangled(place.symbol)
        return Frame(name, place.full_path or "", place.line, module.path, is_inlined=is_inlined)

    def _open(self, module: ModuleFile) -> Table | None:
        """The best table of symbols for a module; None if there is none."""
        if self._kept and (found := self._kept.find(module.build_id)):
            return Table(found, elf.first_address(module.path))
        best = self._best(module)
        if not best:
            return None
        source, file = best
        table = file.make_symcache()
        if self._kept and "debug" in file.features:  # without it, debug information may still be installed
            self._kept.keep(module.build_id, source, table)
        return Table(table, elf.first_address(module.path))

    def _best(self, module: ModuleFile) -> tuple[Path, Any] | None:
        """The file that says most about a module, and its object of `symbolic`."""
        path = Path(module.path)
        own = open_object(path)
        if own and module.build_id and own.code_id != module.build_id:
            own = None
        if not own or "debug" not in own.features:
            for each in debug_files(module, self._debug_folder):
                found = open_object(each)
                if found and found.code_id == module.build_id and "debug" in found.features:
                    return each, found
        return (path, own) if own else None


class Table:
    """The symbols of one file."""

    def __init__(self, symbols: Any, base: int):
        self.base = base  # `symbolic` counts from the file's first loaded byte
        self.lookup = symbols.lookup


def open_object(path: Path) -> Any:
    """The file as an object of `symbolic`; None if it is none, or cannot be read."""
    from symbolic.debuginfo import Archive
    from symbolic.exceptions import SymbolicError

    try:
        return next(iter(Archive.open(str(path)).iter_objects()), None) if path.is_file() else None
    except (SymbolicError, OSError, ValueError):
        return None


def debug_files(module: ModuleFile, folder: Path) -> Iterator[Path]:
    """Where a module's separate debug information may be."""
    if module.build_id:
        yield folder / ".build-id" / module.build_id[:2] / f"{module.build_id[2:]}.debug"
    path = Path(module.path)
    if name := elf.debug_link(module.path):
        yield path.parent / name
        yield path.parent / ".debug" / name
        yield folder / path.parent.relative_to(path.anchor) / name


def demangled(symbol: str) -> str:
    """The name as a programmer writes it, without what a compiler added to copies and parts of a function."""
    import cxxfilt
    import rust_demangler

    name = COPY.sub("", symbol)
    try:
        if name.startswith("_R") or RUST_HASH.search(name):
            return HASH.sub("", rust_demangler.demangle(name))
        return str(cxxfilt.demangle(name))
    except Exception:  # for a damaged name, the libraries raise errors of many kinds
        return name
