"""The suite finds bugs: each edit makes one allocator wrong in one place, and the named check says so."""

from pathlib import Path

import pytest

from heapwright import allocator
from heapwright.conformance import CHECKS, Broken, Subject

SOURCES = {name: Path(allocator.load(name).parts[0].__file__).read_text() for name in ("kr", "linked_list")}

# (the check that must find it, the allocator, what is replaced, what by)
BUGS = {
    "a header in the caller's bytes": ("U3_disjointness", "kr", "return block.address + UNIT", "return block.address"),
    "one unit too few": ("U3_disjointness", "kr", "// UNIT + 1\n", "// UNIT\n"),
    "addresses at odd multiples of 8": (
        "U1_alignment", "kr", "return block.address + UNIT", "return block.address + UNIT + 8"),
    "larger alignments forgotten": (
        "alignments", "kr", "take_fit(heap, units) if align <= UNIT", "take_fit(heap, units) if align <= 1 << 13"),
    "no merging below": ("own_invariants", "kr", "    join(before, block)\n", "    before.next = block\n"),
    "no merging above": ("own_invariants", "kr", "    join(block, before.next)\n", "    block.next = before.next\n"),
    "an exact fit stays in the list": (
        "exhaustive", "linked_list", "        before.next = region.next\n    else:", "        pass\n    else:"),
    "usable size with the header": (
        "U4_usable_size", "kr", "return (block_of(heap, address).units - 1) * UNIT",
        "return block_of(heap, address).units * UNIT"),
    "walk says that all is free": (
        "U9_used_or_free", "kr", "yield block.address, size, spans.USED", "yield block.address, size, spans.FREE"),
    "walk leaves the end out": (
        "last_byte", "linked_list",
        "    if position < last:\n        yield position, last - position, spans.USED\n", ""),
    "zeros without looking": (
        "U6_zeroed", "linked_list", "def realloc(", "def alloc_zeroed(heap, size, align):\n"
        "    return alloc(heap, size, align)\n\n\ndef realloc("),
    "realloc copies half": (
        "U6_realloc_keeps_the_prefix", "linked_list", "heap.memory.copy(target, address, size)",
        "heap.memory.copy(target, address, size // 2)"),
    "realloc frees before it has room": (
        "U7_failure_atomicity", "linked_list",
        "    target = alloc(heap, new_size, align)\n    if target != NULL:\n"
        "        heap.memory.copy(target, address, size)\n        dealloc(heap, address, size, align)\n",
        "    target = alloc(heap, new_size, align)\n    if target != NULL:\n"
        "        heap.memory.copy(target, address, size)\n    dealloc(heap, address, size, align)\n"),
    "failure of sbrk not looked at": (
        "U7_failure_atomicity", "linked_list", "    if given > 0:\n        add(heap, start, start + given)",
        "    if True:\n        add(heap, start, start + size)"),
    "a rover that moves before it is known": (
        "U7_words_unchanged", "kr", "    start, given = breaks.grow(heap.memory, size)\n",
        "    heap.rover = heap.rover.next\n    start, given = breaks.grow(heap.memory, size)\n"),
    "negative sizes taken for small ones": (
        "U12_absurd_sizes", "linked_list", "    if bits.is_absurd(size, align):", "    if size > 1 << 62:"),
    "no room for a block of no bytes": (
        "U11_zero_size", "linked_list", "return max(bits.align_up(size, UNIT), UNIT)",
        "return bits.align_up(size, UNIT)"),
    "the break is thought to be one's own": (
        "foreign_sbrk", "linked_list", "add(heap, start, start + given)",
        "add(heap, free_end(heap, 0), start + given)"),
    "new memory is thought to join the old": (
        "U7_break_moves", "linked_list", "if not before and obtain(", "if before and obtain("),
    "the break is thought to be aligned": (
        "misaligned_break", "linked_list", "    first = bits.align_up(start, UNIT)\n", "    first = start\n"),
    "pages are thought to be of 4 KiB": (
        "page_sizes", "linked_list", "surplus = end - bits.align_up(region.address + keep, heap.memory.PAGE)",
        "surplus = end + 4096 - bits.align_up(region.address + keep, 4096)"),
    "a leak at each split": (
        "U9_used_or_free", "linked_list", "    rest.size = end_of(region) - address\n",
        "    rest.size = max(end_of(region) - address - UNIT, UNIT)\n"),
    "new memory is not kept": (
        "U14_quiescence", "linked_list", "    if size > 0:\n        insert(heap, first, size)",
        "    if size > GROWTH:\n        insert(heap, first, size)\n    elif size > 0:\n        heap.memory.sbrk(0)"),
    "a module's variable": ("lint", "kr", "MIN_GROWTH = 4096", "growths = []\nLEAST_GROWTH = 4096"),
    "an invariant that nobody checks": (
        "numbered_invariants", "kr", '    assert last + size == end, "I4', '    assert last + size == end, "I9'),
    "a detection that is none": (
        "foreign_free", "linked_list", 'DETECTS = ("double free",)', 'DETECTS = ("double free", "foreign")'),
    "a promise to keep nothing": (
        "U14_quiescence", "kr", 'RETAINS = "all that it ever held: the break is never lowered"', "RETAINS = 4096"),
    "a promise only of what is done at once": (
        "double_free_at_once", "linked_list", 'DETECTS = ("double free",)', "DETECTS = ()"),
    "a refusal to take memory back that is not looked at": (
        "U7_nothing_taken_back", "linked_list", "    if given > 0:\n        region.size -= given\n",
        "    region.size -= max(surplus, 0)\n"),
    "contents decide": (
        "junk", "linked_list", "    return address\n\n\ndef split", "    if Region(heap.memory, address).size < 0:\n"
        "        heap.memory.sbrk(16)\n    return address\n\n\ndef split"),
}  # fmt: skip


@pytest.mark.parametrize("bug", BUGS)
def test_is_found(bug, tmp_path):
    check, name, right, wrong = BUGS[bug]
    assert SOURCES[name].count(right) == 1
    path = tmp_path / f"{name}.py"
    path.write_text(SOURCES[name].replace(right, wrong))
    with pytest.raises(Broken) as caught:
        CHECKS[check](Subject(str(path), is_quick=False, patience=0.5, budget=50_000))
    assert caught.value.what
    assert len(caught.value.lines) <= 60
