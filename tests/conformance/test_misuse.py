"""The misuse checks hold an allocator to its promises: at each size, in each way, but for what UNMAPS excludes."""

from pathlib import Path

import pytest

from heapwright import allocator
from heapwright.conformance import CHECKS, Broken, Subject

pytestmark = pytest.mark.long

WORDS = {
    "double_free_at_once": "double free at once",
    "double_free": "double free",
    "foreign_free": "foreign",
    "interior_free": "interior",
}

# (the allocator, the check that finds it, what is replaced, what by): each was so once
BUGS = {
    "what was returned with the rest is freed again": (
        "linked_list", "double_free", "    if not heap.memory.is_mapped(address):", "    if address == NULL:"),
    "what is free is resized": (
        "linked_list", "double_free", "    gap_for(heap, address, old)\n", ""),
    "a move asks for memory before it looks at the block": (
        "buddy", "interior_free",
        "    usable = usable_size(heap, address)  # reports an address that is not a live block\n",
        "    usable = new_size\n"),
    "what merges keeps its head": (
        "dlmalloc/bins", "double_free_at_once",
        "        chunk.head = size | chunks.PREVIOUS_USED  # so that a second free is detected\n", ""),
    "mappings are promised, too": (
        "ptmalloc", "double_free_at_once", "UNMAPS = ", "NOTHING = "),
    "a promise that is half kept": (
        "hoard", "double_free", 'DETECTS = ("double free at once", ', 'DETECTS = ("double free", '),
    "nothing is promised where all is reported": (
        "segregated_storage", "foreign_free", '"foreign", ', ""),
    "a word that nobody knows": (
        "pages", "interior_free", '"interior")', '"inside")'),
}  # fmt: skip
PACKAGE = "heapwright.allocators"


def edited(name, right, wrong, folder):
    """A copy of an allocator with one of its modules, or itself, made wrong; the path of the copy."""
    design, _, room = name.partition("/")
    source = Path(allocator.load(design).parts[0].__file__)
    is_package = source.name == "__init__.py"
    copy = folder / design if is_package else folder
    copy.mkdir(exist_ok=True)
    for path in source.parent.glob("*.py") if is_package else [source]:
        text = path.read_text().replace(f"from {PACKAGE}.{design}", f"from {design}")
        if path.stem == (room or source.stem):
            assert text.count(right) == 1
            text = text.replace(right, wrong)
        (copy / path.name).write_text(text)
    return copy / source.name


@pytest.mark.parametrize("bug", BUGS)
def test_is_found(bug, tmp_path, monkeypatch):
    name, check, right, wrong = BUGS[bug]
    monkeypatch.syspath_prepend(tmp_path)
    path = edited(name, right, wrong, tmp_path)
    with pytest.raises(Broken) as caught:
        CHECKS[check](Subject(str(path)))
    assert WORDS[check] in caught.value.what or "the words are" in caught.value.what


@pytest.mark.parametrize("check", WORDS)
def test_a_layer_may_notice_more_than_the_heap_below_promises(check):
    assert CHECKS[check](Subject("sized(linked_list)")) == "reported"
