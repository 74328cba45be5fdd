"""The pictures of the documents, docs/pictures: `make_pictures.py`; with `--check`, whether all are current.

`make_pictures.py TRACE` makes the pictures of pages on a recording with Chromium: report.png and heap-map.png. They
differ from run to run, so they are not checked.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from heapwright import start

FOLDER = Path("docs", "pictures")
REPORT_WINDOW, MAP_WINDOW = "--window-size=1180,1130", "--window-size=1180,900"
OPTIONS = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--virtual-time-budget=10000")
COMPARE = ["compare", "-n", "1", "-a", "system", "-a", "jemalloc"]


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


def draw_page(command: list[str], trace: str, picture: Path, window: str) -> None:
    """Write the page that a command makes of a recording as a browser shows it."""
    if not shutil.which("chromium"):
        sys.exit("chromium is not installed (Debian: chromium)")
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder, "page.html")
        subprocess.run([sys.executable, "-m", "heapwright", *command, trace, "--html", page], check=True)
        subprocess.run(["chromium", *OPTIONS, window, f"--screenshot={picture}", page.as_uri()], check=True)


if __name__ == "__main__":
    repository = Path(__file__).resolve().parent.parent
    if "--check" in sys.argv:
        sys.exit("\n".join(problems(repository)) or 0)
    for name, text in pictures().items():
        (repository / FOLDER / name).write_text(text)
    for recording in sys.argv[1:]:
        draw_page(["report"], recording, repository / FOLDER / "report.png", REPORT_WINDOW)
        draw_page(COMPARE, recording, repository / FOLDER / "heap-map.png", MAP_WINDOW)
