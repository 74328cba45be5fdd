"""Links, without the network: files exist, addresses are well formed and were verified, and none is known to be dead.

docs/links.txt lists the verified addresses, one on a line, each with a note behind it.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

VERIFIED = "docs/links.txt"
ERRATA = "docs/errata.md"
DEAD = (
    "os.phil-opp.com/allocators-complete-guide",
    "medium.com/@siddharthist",
    "blog.yellowstonegames.com",
    "www.olliechick.com",
    "blog.altseed.io",
)
ADDRESS = re.compile(r"https?://[^\s<>`\"']+")
MARKDOWN = re.compile(r"\]\(([^)\s]+)\)")
CODE = re.compile(r"```.*?```|`[^`\n]+`", re.S)


def problems(root: Path) -> list[str]:
    verified = verified_links(root / VERIFIED)
    found = []
    for path, text in texts(root):
        where = str(path.relative_to(root))
        found += [f"{where}: {problem}" for problem in broken(path, text, verified)]
        if where != ERRATA:
            found += [f"{where}: {dead} is dead: see {ERRATA}" for dead in DEAD if dead in text]
    return found


def verified_links(path: Path) -> set[str]:
    lines = path.read_text().splitlines() if path.is_file() else []
    return {line.split()[0] for line in lines if line.strip() and not line.startswith("#")}


def texts(root: Path) -> Iterator[tuple[Path, str]]:
    """The documents, and the docstrings of the sources."""
    for path in (root / "README.md", *sorted((root / "docs").rglob("*.md"))):
        if path.is_file():
            yield path, path.read_text()
    for path in sorted((root / "src").rglob("*.py")):
        yield path, "\n".join(docstrings(ast.parse(path.read_text(), str(path))))


def docstrings(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            yield ast.get_docstring(node) or ""


def broken(path: Path, text: str, verified: set[str]) -> Iterator[str]:
    for address in (match.rstrip(".,;:)") for match in ADDRESS.findall(text)):
        if not urlsplit(address).hostname or "." not in str(urlsplit(address).hostname):
            yield f"{address} is no address"
        elif address not in verified:
            yield f"{address} is not in {VERIFIED}: open it, then add it there with a note"
    for target in MARKDOWN.findall(CODE.sub("", text)) if path.suffix == ".md" else ():
        file = target.split("#")[0]
        if file and "://" not in file and not (path.parent / file).exists():
            yield f"there is no {target}"


if __name__ == "__main__":
    sys.exit("\n".join(problems(Path(__file__).resolve().parent.parent)) or 0)
