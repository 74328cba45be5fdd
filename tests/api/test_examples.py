"""The examples in the docstrings of the public names give what they show."""

from __future__ import annotations

import doctest
from importlib import import_module

import pytest

import heapwright

MODULES = sorted({f"heapwright.{home}" for home in heapwright.HOMES} | {"heapwright", "heapwright.machine.blocks",
    "heapwright.machine.fault"})  # fmt: skip


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert doctest.testmod(import_module(name), optionflags=doctest.ELLIPSIS).failed == 0
