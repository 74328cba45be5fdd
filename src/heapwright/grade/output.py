"""What a submission printed, as text that is safe to show: nobody believes it, and it moves no cursor."""

from __future__ import annotations

from pathlib import Path

TAIL = 64 << 10  # bytes that are read of it
WIDTH = 200  # letters of a line that are shown


def last_lines(path: Path, count: int) -> list[str]:
    """The last lines of a file that are not blank."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - TAIL))
        lines = file.read().decode(errors="replace").splitlines()
    return [plain(line) for line in lines if line.strip()][-count:]


def plain(line: str) -> str:
    """A line without control characters."""
    return "".join(each if each.isprintable() else "?" for each in line.rstrip())[:WIDTH]
