"""Words that docs/glossary.md replaces by others, wherever they are left: in identifiers, comments and prose."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

GLOSSARY = Path("docs", "glossary.md")
FOLDERS = {"src": ".py", "tests": ".py", "tools": ".py", "examples": ".py", "bench": ".py", "docs": ".md"}
PAGES = ("README.md", "CONTRIBUTING.md")
ROW = re.compile(r"^\|[^|]*\|[^|]*\|\s*(\S[^|]*?)\s*\|$", re.M)
HEADS = ("not", "---")


def problems(root: Path) -> list[str]:
    """Each place as file:line, the word, and the line."""
    pattern = forbidden((root / GLOSSARY).read_text())
    return [
        f"{path.relative_to(root)}:{number}: '{found[0]}': {line.strip()}"
        for path in texts(root)
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if (found := pattern.search(line))
    ]


def forbidden(glossary: str) -> re.Pattern[str]:
    """A pattern for the words of the last column, in the plural as well, alone or as parts of an identifier."""
    cells = (cell for cell in ROW.findall(glossary) if cell not in HEADS)
    words = sorted({word for cell in cells for word in cell.split(", ")})
    endings = (word if word.endswith("_") else f"(?i:{word})(?:e?s)?(?![a-z])" for word in words)
    return re.compile(rf"(?<![A-Za-z])(?:{'|'.join(endings)})")


def texts(root: Path) -> Iterator[Path]:
    for folder, suffix in FOLDERS.items():
        yield from (path for path in sorted((root / folder).rglob(f"*{suffix}")) if path != root / GLOSSARY)
    yield from (root / page for page in PAGES if (root / page).exists())


if __name__ == "__main__":
    sys.exit("\n".join(problems(Path(__file__).resolve().parent.parent)) or 0)
