"""The documents as a site: `make docs` builds it into .venv/site. Nothing in it loads from another host.

Sphinx reads the Markdown with MyST. Documents link to files of the repository as on a code host: a link to a document
leads to its page, a link to a source downloads the source.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
OUTSIDE = {  # documents outside docs/, and the pages that show them
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "bench/README.md": "bench.md",
}
LINK = re.compile(r"\]\((?!\w+:|#)([^)#\s]+)")

project = "heapwright"
copyright = "2026, the heapwright authors"  # noqa: A001  Sphinx's name
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx_copybutton"]
exclude_patterns = ["proof/*", "links.txt"]
myst_heading_anchors = 3
autodoc_member_order = "bysource"
autodoc_typehints = "description"
html_theme = "furo"
html_title = "heapwright"
html_copy_source = False


def show_outside(app: Any, name: str, source: list[str]) -> None:
    """Put a document from outside docs/ in place of its page, and let links lead to the pages."""
    origin = next((ROOT / path for path, page in OUTSIDE.items() if page == f"{name}.md"), None)
    text = origin.read_text() + source[0] if origin else source[0]
    folder = (origin or ROOT / "docs" / f"{name}.md").parent
    source[0] = LINK.sub(lambda match: f"]({target_of(folder, name, match[1])}", text)


def target_of(folder: Path, name: str, link: str) -> str:
    """A link in a document of `folder`, as the page `name` must write it."""
    path = (folder / link).resolve()
    path = path / "README.md" if path.is_dir() else path
    inside = path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else ""
    page = ROOT / "docs" / OUTSIDE.get(inside, inside).removeprefix("docs/") if inside.endswith(".md") else path
    return os.path.relpath(page, (ROOT / "docs" / name).parent) if path.is_file() else link


def setup(app: Any) -> None:
    app.connect("source-read", show_outside)
