"""Random programs make the same requests as Rust's collections, and come to the same contents in the same order.

The recorded runs are those of tests/collections/rust/driver.rs, made by `tools/record_rust.py`. Where rustc is
installed, new programs are run as well.
"""

import re
from pathlib import Path

import pytest
from rust_programs import HEADS, run
from rust_random import program

from heapwright.collections import hash_table

HERE = Path(__file__).parent
RECORDED = sorted((HERE / "recorded").glob("*.txt"))
RESULT = re.compile(r"=|free|\d|zeroed")
SEEDS = range(100, 102)  # others than those of the recorded runs


def test_every_collection_is_recorded():
    runs = [text for path in RECORDED for text in path.read_text().split("\n\n")[1:]]
    assert {text.split("\n")[0] for text in runs if text} == set(HEADS)


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_recorded_programs(path):
    head, _, recorded = path.read_text().partition("\n\n")
    version = re.fullmatch(r"# rustc (\S+).*; hashbrown (\S+)", head)[2]
    assert f"hashbrown {version}," in hash_table.__doc__
    programs = "\n".join(line.removeprefix("> ") for line in recorded.split("\n") if not RESULT.match(line))
    assert run(programs) == recorded


@pytest.mark.parametrize("head", HEADS)
def test_new_programs(head, rust_driver):
    for seed in SEEDS:
        text = program(head, seed)
        assert run(text) == rust_driver(text)


def test_the_comparison_can_fail(rust_driver):
    text = program("map u8 unit", 1)
    was, hash_table.SMALL = hash_table.SMALL, {}
    try:
        assert run(text) != rust_driver(text)
    finally:
        hash_table.SMALL = was
