"""Documents that say too little of us, or what is not so, are found."""

from __future__ import annotations

import pytest


@pytest.fixture
def check(tool):
    return tool("check_docs")


def test_what_nobody_mentions_is_found(check, tree):
    text = " ".join(f"`{name}`" for name in check.NAMES[1:])
    assert check.problems(tree({"docs/a.md": text})) == [f"docs: nothing is said of `{check.NAMES[0]}`"]


def test_a_system_without_a_version_is_found(check, tree):
    said = "xv6rs is measured against glibc, `musl` and jemalloc."
    table = "| glibc | 2.43 |\n| jemalloc | the latest |\n"
    found = check.problems(tree({"docs/a.md": said, "docs/sources.md": table}))
    assert [problem for problem in found if "version" in problem] == [
        "docs/sources.md: no version of jemalloc is named",
        "docs/sources.md: no version of xv6rs is named",
    ]


BAD = {
    "no such command": "heapwright fly",
    "no such option": "heapwright compare --bogus demo.hwt",
    "no such option before the program's": "heapwright run --bogus -- ls",
    "one word too many": "heapwright doctor now",
    "a value is missing": "heapwright record -o",
    "after something else": "PYTHONMALLOC=malloc heapwright fly | less",
}


@pytest.mark.parametrize("name", BAD)
def test_a_command_line_that_click_would_refuse_is_found(check, tree, name):
    found = check.problems(tree({"docs/a.md": f"```\n$ {BAD[name]}\n```\n", "README.md": f"Say `{BAD[name]}`."}))
    assert [problem.split(":")[0] for problem in found if "heapwright" in problem] == ["README.md", "docs/a.md"]


def test_command_lines_that_work(check):
    text = "`heapwright`, `heapwright --help`, `heapwright run -a kr -- ls -l` and the package `heapwright.layout`\n"
    block = "```sh\nheapwright record -o a.hwt -- ls && heapwright compare a.hwt -a kr  # both\n```\n"
    lines = list(check.command_lines(text + block))
    assert len(lines) == 5
    assert [check.refusal(line) for line in lines] == [""] * 5


def test_ours(check, root):
    assert check.problems(root) == []
