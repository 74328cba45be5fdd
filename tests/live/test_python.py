"""CPython's arenas on an image of 3.14, and what an interpreter publishes of itself."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import python_image

from heapwright.lab.inspect import inspect
from heapwright.live.look import look_at
from heapwright.live.memory import Image
from heapwright.live.python.find import interpreters
from heapwright.live.python.published import published_by
from heapwright.live.report import report_of


@pytest.fixture
def path(tmp_path):
    return tmp_path / "python3.14"


def test_the_arenas_of_an_image_of_3_14(path):
    found = report_of(look_at(python_image.image_of(path)))
    assert found["python"]["version"] == "3.14"
    assert found["python"]["arenas"] == 2
    pools = 2 * python_image.ORDERS
    assert found["python"]["pools"] == pools
    in_pool = 64 * -(-230 // 10)
    groups = {group["size_class"]: group for group in found["pins"] if group["kind"] == "Python Order"}
    assert groups[64]["bytes"] == (pools - 2) * in_pool and groups[64]["blocks"] == (pools - 2) * 23
    assert found["parts"]["python_used"] + found["parts"]["python_free"] == 2 << 20
    assert found["parts"]["python_used"] == found["python"]["used_bytes"]
    assert not [note for note in found["notes"] if "Python" in note]


def test_an_interpreter_is_known_by_what_it_publishes(tmp_path):
    """A program that contains one has another name; a stripped one has no symbol."""
    embedded = report_of(look_at(python_image.image_of(tmp_path / "server")))
    assert embedded["python"]["version"] == "3.14"
    image = Image(python_image.image_of(tmp_path / "python3.13", (3, 14), symbol=b"other"))
    [module] = image.source.modules()
    assert published_by(image, module).version == "3.14"
    assert not list(interpreters(image))  # but a file with names that has not this one is none


def test_a_free_threaded_build_is_said_to_be_one(path):
    image = python_image.image_of(path, free_threaded=1)
    image.map(0x7F2000000000, 0x40000)
    found = report_of(look_at(image))
    assert found["python"] is None
    assert "this Python is free-threaded: its objects are in mimalloc, which is not read" in found["notes"]
    assert found["statistics"][0]["name"] == "mimalloc" and found["statistics"][0]["live_bytes"] is None
    assert found["parts"]["foreign_heap"] == 0x40000


@pytest.mark.parametrize("version", [(3, 12), (2, 7), (4, 14)])
def test_what_is_published_is_not_believed_blindly(path, version):
    image = Image(python_image.image_of(path, version))
    [module] = image.source.modules()
    assert published_by(image, module) is None


def test_a_real_3_14(python):
    folder = os.environ.get("HEAPWRIGHT_PYTHON", "")
    interpreter = Path(folder, "3.14", "python3")
    if not folder or not interpreter.exists():
        pytest.skip("$HEAPWRIGHT_PYTHON/3.14/python3 is not there")
    found = report_of(inspect(python("arenas.py", interpreter=interpreter).pid))
    assert found["python"]["version"] == "3.14"
    orders = sum(group["blocks"] for group in found["pins"] if group["kind"] == "Python Order")
    assert 4000 <= orders <= 4010
    assert abs(found["parts"]["unexplained"]) <= 0.01 * found["resident_bytes"]
