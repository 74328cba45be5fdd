"""The pictures of the documents, docs/pictures: `make_pictures.py`; with `--check`, whether all are current.

`make_pictures.py TRACE` makes the picture of the report on a recording, report.png, with Chromium. It differs from run
to run, so it is not checked.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from heapwright import start

FOLDER = Path("docs", "pictures")
WINDOW = "--window-size=1180,1130"
OPTIONS = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--virtual-time-budget=10000", WINDOW)


def pictures() -> dict[str, str]:
    """The heap of docs/api.md: two free blocks of `kr`, and one in use between them."""
    heap = start("kr")
    block = heap.alloc(24)
    heap.alloc(100)
    heap.dealloc(block)
    return {"heap.svg": f"{heap.draw().svg()}\n"}


def problems(root: Path) -> list[str]:
    found = {path.name: path.read_text() for path in (root / FOLDER).glob("*.svg")}
    stale = [name for name, text in pictures().items() if text != found.get(name)]
    return [f"{FOLDER / name} is not current: run tools/make_pictures.py" for name in stale]


def draw_report(trace: str, picture: Path) -> None:
    """Write the page of `heapwright report TRACE --html` as a browser shows it."""
    if not shutil.which("chromium"):
        sys.exit("chromium is not installed (Debian: chromium)")
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder, "report.html")
        subprocess.run([sys.executable, "-m", "heapwright", "report", trace, "--html", page], check=True)
        subprocess.run(["chromium", *OPTIONS, f"--screenshot={picture}", page.as_uri()], check=True)


if __name__ == "__main__":
    repository = Path(__file__).resolve().parent.parent
    if "--check" in sys.argv:
        sys.exit("\n".join(problems(repository)) or 0)
    for name, text in pictures().items():
        (repository / FOLDER / name).write_text(text)
    for recording in sys.argv[1:]:
        draw_report(recording, repository / FOLDER / "report.png")
