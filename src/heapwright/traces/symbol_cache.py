"""Tables of symbols on disk. To make that of a large binary from its debug information takes a second.

A table is named by the build ID of its binary, so it stays right when the binary is replaced. Whatever fails here, the
table is made anew, as it is without a cache.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from heapwright.errors import UserError
from heapwright.files import written_whole

SUFFIX = ".symcache"
LARGE = 1 << 20  # bytes of a file whose table is kept: to make that of a smaller one is quick
ROOM = 256 << 20  # bytes of all tables


class SymbolCache:
    """A folder of tables. It is made when the first one is kept."""

    def __init__(self, folder: Path):
        self.folder = folder

    def find(self, build_id: str) -> Any:
        """The table of a build as a SymCache of `symbolic`; None if there is none that can be read."""
        from symbolic.exceptions import SymbolicError
        from symbolic.symcache import SymCache

        place = self._place(build_id)
        if not build_id or not place.is_file():
            return None
        try:
            os.utime(place)  # it was of use
            found = SymCache.open(str(place))
        except (OSError, SymbolicError):
            return None
        return found if found.is_latest_version else None

    def keep(self, build_id: str, source: Path, table: Any) -> None:
        """Keep the table that was made of a file, if that is large, and drop those that were not used for longest."""
        with suppress(OSError, UserError):
            if build_id and source.stat().st_size >= LARGE:
                self.folder.mkdir(parents=True, exist_ok=True)
                with written_whole(self._place(build_id)) as file:
                    table.dump_into(file)
                self._prune()

    def _place(self, build_id: str) -> Path:
        return self.folder / f"{build_id}{SUFFIX}"

    def _prune(self) -> None:
        room = ROOM
        facts = [(each.stat(), each) for each in self.folder.glob(f"*{SUFFIX}")]
        for fact, each in sorted(facts, key=lambda pair: pair[0].st_mtime_ns, reverse=True):
            room -= fact.st_size
            if room < 0:
                each.unlink(missing_ok=True)
