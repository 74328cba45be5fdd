"""The documents build as a site without a warning, and nothing in the site loads from another host."""

from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser

import pytest

pytestmark = pytest.mark.long

pytest.importorskip("sphinx", reason="sphinx is not installed")
LOADS = {"src", "srcset", "poster", "data"}  # attributes whose address a browser fetches by itself
REMOTE = re.compile(r"^(?:https?:)?//")
IN_STYLE = re.compile(r"(?:url\(|@import)\s*['\"]?((?:https?:)?//[^'\")\s]+)")


class Loads(HTMLParser):
    """Collects the remote addresses that a page makes a browser fetch."""

    def __init__(self, text):
        super().__init__()
        self.found = IN_STYLE.findall(text)
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        names = LOADS | {"href"} if tag == "link" else LOADS
        self.found += [value for name, value in attrs if name in names and REMOTE.match(value or "")]


@pytest.fixture(scope="module")
def site(tmp_path_factory, request):
    root = request.config.rootpath
    place = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", root / "docs", place]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=root)
    assert done.returncode == 0, done.stderr
    return place


def test_loads_are_found():
    page = '<link href="https://a.b/c.css"><script src="//a.b/c.js"></script><style>@import "https://a.b/d.css"</style>'
    assert len(Loads(page).found) == 3
    assert Loads('<a href="https://a.b/">text</a><img src="_static/x.png">').found == []


def test_nothing_loads_from_another_host(site):
    pages = {path.name: Loads(path.read_text()).found for path in site.rglob("*.html")}
    styles = {path.name: IN_STYLE.findall(path.read_text()) for path in site.rglob("*.css")}
    assert {name: found for name, found in {**pages, **styles}.items() if found} == {}


def test_allocator_pages_keep_their_pictures(site):
    assert "| next               |" in (site / "allocators" / "kr.html").read_text()


def test_the_first_page_is_the_readme(site):
    page = (site / "index.html").read_text()
    assert "make demo" in page and 'href="overview.html"' in page
