"""One page from its parts."""

from __future__ import annotations

import base64
import json
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

SHARED = Path(__file__).with_name("web")
SHARED_SCRIPTS = ("d3.min.js", "words.js", "page.js", "bars.js", "tables.js")
MAX_BYTES = 3_000_000


@dataclass(frozen=True)
class Kind:
    """A kind of page: its name, the folder of its own parts, its scripts in their order, and texts.

    The folder has `main.html`, `keys.html` and `style.css`. The last script opens the page.
    """

    name: str
    folder: Path
    scripts: Sequence[str]
    footer: str
    controls: str = ""


def assemble(kind: Kind, title: str, data: dict[str, Any]) -> str:
    """The page with its data, compressed."""
    text = json.dumps(data, separators=(",", ":")).encode()
    scripts = [SHARED / name for name in SHARED_SCRIPTS] + [kind.folder / name for name in kind.scripts]
    parts = {
        "title": escape(title),
        "kind": kind.name,
        "style": read(SHARED / "style.css") + read(kind.folder / "style.css"),
        "controls": kind.controls,
        "keys": read(kind.folder / "keys.html"),
        "main": read(kind.folder / "main.html"),
        "footer": kind.footer,
        "data": base64.b64encode(zlib.compress(text, 9)).decode(),
        "scripts": "\n".join(map(read, scripts)),
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], read(SHARED / "page.html"))


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def steps_of(matrix: Any) -> list[list[int]]:
    """The steps of each row: for each, how many columns after the one before, and by how much it changes."""
    steps = np.diff(matrix, axis=1, prepend=0)
    rows, places = np.nonzero(steps)
    first = np.diff(rows, prepend=-1) != 0
    gaps = np.where(first, places, np.diff(places, prepend=0))
    pairs = np.stack([gaps, steps[rows, places]], axis=1)
    ends = np.searchsorted(rows, np.arange(len(matrix) + 1))
    return [pairs[a:b].ravel().tolist() for a, b in zip(ends, ends[1:], strict=False)]
