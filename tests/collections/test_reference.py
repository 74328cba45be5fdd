"""docs/collections.md: its example runs, and each method that it names is there."""

import re
from pathlib import Path

from heapwright import collections

REFERENCE = Path(__file__).parents[2] / "docs" / "collections.md"
ROW = re.compile(r"^\|([^|]*)\|([^|]*)\|", re.M)


def test_the_example():
    (example,) = re.findall(r"```python\n(.*?)```", REFERENCE.read_text(), re.S)
    exec(compile(example, str(REFERENCE), "exec"), {})  # noqa: S102


def test_every_method_that_is_named_is_there():
    kinds, found = [], 0
    for left, right in ROW.findall(REFERENCE.read_text()):
        kinds = re.findall(r"`([A-Z]\w+)`", left) or kinds
        for owner, name in re.findall(r"`(?:([A-Z]\w+)\.)?([a-z_]+)\b[^`]*`", right):
            owners = [owner] if owner else kinds
            assert any(hasattr(getattr(collections, each), name) for each in owners), (owners, name)
            found += 1
    assert found > 60
