"""Links that lead nowhere are found without a network."""

from __future__ import annotations

import pytest

GOOD = "https://example.org/page"
BAD = {
    "a file that is not there": ("docs/a.md", "See [b](b.md)."),
    "an address nobody opened": ("docs/a.md", "See https://example.org/other."),
    "in a docstring": ("src/a.py", 'def f():\n    """See https://example.org/other."""\n'),
    "no address": ("README.md", "See <https://nowhere>."),
    "a dead one": ("docs/decisions/1.md", "See blog.altseed.io."),
    "a dead one with its address": ("docs/a.md", "[x](https://www.olliechick.com/posts/custom-rust-allocators/)"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_link_is_found(tool, tree, name):
    path, text = BAD[name]
    found = tool("check_links").problems(tree({"docs/links.txt": f"{GOOD} a page\n", path: text}))
    assert found and found[0].startswith(path)


def test_good_links_are_not(tool, tree):
    files = {
        "docs/links.txt": f"# verified\n{GOOD} a page\n",
        "docs/a.md": f"[b](b.md#part), [there](#part) and [a page]({GOOD}), also {GOOD}.",
        "docs/b.md": "[up](../README.md)",
        "docs/errata.md": "`blog.altseed.io/...` is dead",
        "README.md": "[docs](docs/)",
        "src/a.py": f'"""See {GOOD}."""\nADDRESS = "https://not.in/a/docstring"\n',
    }
    assert tool("check_links").problems(tree(files)) == []


@pytest.mark.long
def test_ours(tool, root):
    assert tool("check_links").problems(root) == []
