"""Allocators as people write them at first: whatever they do, the suite judges them, and tells a story of it."""

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from heapwright.cli import commands
from heapwright.conformance import CHECKS, Subject, Verdict, checks_for, run
from heapwright.conformance.suite import causes_in
from heapwright.errors import AllocatorError
from heapwright.machine import watchdog

pytestmark = pytest.mark.long

SOURCE = (Path(__file__).parents[2] / "examples" / "powers_of_two.py").read_text()
CHECKED = (  # of each kind one, and those that call the allocator in a way of their own
    "U1_alignment", "U5_conservation", "U6_zeroed", "U9_used_or_free", "U10_size_classes", "U11_zero_size",
    "U12_absurd_sizes", "U14_quiescence", "U7_failure_atomicity", "double_free", "last_byte", "fork",
    "numbered_invariants",
)  # fmt: skip

ALLOC = "    if size < 0 or size > MAX_BYTES - align:\n        return NULL\n"
TAKE = "    block = take(heap, order)\n    return place(block, align) if block else NULL\n"
PLACE = "    address = align_up(block.address + HEADER, align)\n"
DEALLOC = "    push(heap, block)\n\n\ndef usable_size"
USABLE = "    return end_of(live_block(heap, address)) - address\n"
WALK = "        yield block.address, block.size, USED if block.next == block else FREE\n"
CHECK = "    listed = set()\n"
REALLOC = "\n\ndef realloc(heap, address, size, align, new_size):\n"

# What is written, and in its place what: what the suite says of it, in one of its failures.
BROKEN = {
    "alignment forgotten": (PLACE, "    address = block.address + HEADER\n", "not a multiple of"),
    "off by a word": (PLACE, PLACE.replace("HEADER,", "HEADER + 8,"), "live payload touched"),
    "no room for the header": (
        "max(size + room, MIN_BLOCK)", "max(size, MIN_BLOCK)", "live payload touched|which overlap"),
    "size 0 gets none": (ALLOC, ALLOC.replace("size < 0", "size <= 0"), "U11  a request for no bytes got none"),
    "size 0 gets the same": (
        ALLOC, f"    if size == 0 and heap.next:\n        return heap.next\n{ALLOC}", "where a live block lies|U9 "),
    "arguments swapped": ("def alloc(heap, size, align)", "def alloc(heap, align, size)", "overlap|live payload"),
    "swapped in dealloc": ("def dealloc(heap, address, size, align)", "def dealloc(heap, size, address, align)", "."),
    "alloc of two": ("def alloc(heap, size, align):\n", "def alloc(heap, size):\n    align = 16\n", "takes 2 "),
    "dealloc of one": ("def dealloc(heap, address, size, align)", "def dealloc(heap, address)", "takes 2 positional"),
    "alloc gives None": (TAKE, "    return None\n", "returned None, which is not an address"),
    "alloc gives nothing": (TAKE, "    take(heap, order)\n", "returned None, which is not an address"),
    "alloc gives a struct": (TAKE, "    return take(heap, order)\n", "returned Block at 0x"),
    "alloc gives a float": (TAKE, TAKE.replace("place(block, align)", "place(block, align) / 1"), "not an address"),
    "alloc gives a text": (TAKE, "    return 'here'\n", "returned 'here', which is not an address"),
    "alloc gives -1": (TAKE, TAKE.replace("NULL", "-1").replace("if block", "if not block"), "the result is 0"),
    "alloc gives -16": (TAKE, "    return -16\n", "not in the heap"),
    "alloc gives 2**70": (TAKE, "    return 1 << 70\n", "needs more than 64 bits"),
    "memory of nobody's": (TAKE, "    return heap.memory.sbrk(0) + 4096 & -align\n", "not all mapped"),
    "all in one place": (
        TAKE, "    take(heap, order)\n    return heap.memory.extent_start() + 4096 & -4096\n", "a live block lies"),
    "recursion": (TAKE, "    return alloc(heap, size, align)\n", "calls itself endlessly"),
    "a loop that reads": (TAKE, "    while heap.next >= 0:\n        pass\n", "a loop that does not end"),
    "a loop that reads nothing": (TAKE, "    while order:\n        order = order\n", "no load or store for"),
    "misspelt": ("heap.next = end_of(block)", "heap.nxt = end_of(block)", "no field 'nxt': did you mean 'next'"),
    "misspelt when read": ("heap.end - heap.next >=", "heap.ends - heap.next >=", "Heap has no field 'ends': did you"),
    "undeclared": (TAKE, f"    heap.last_order = order\n{TAKE}", "has no field 'last_order'"),
    "a name that is nowhere": (TAKE, TAKE.replace("take(", "taek("), "NameError"),
    "a list outgrown": ("LISTS = 63", "LISTS = 6", "IndexError: element"),
    "a number outgrown": (
        TAKE, f"    if (1 << 62) * order < order:\n        return NULL\n{TAKE}", "needs more than 64 bits"),
    "division by zero": (TAKE, f"    order = order // (heap.end - heap.end)\n{TAKE}", "ZeroDivisionError"),
    "it leaves": (TAKE, "    raise SystemExit(0)\n", "SystemExit: 0"),
    "it raises": (TAKE, "    raise MemoryError\n", "MemoryError"),
    "dealloc raises": (DEALLOC, "    raise ValueError(block)\n\n\ndef usable_size", "ValueError: Block at"),
    "dealloc loses": (DEALLOC, "    return\n\n\ndef usable_size", "I3  a block is in a list|U14|U9"),
    "usable_size too small": (USABLE, "    return 8\n", "usable_size|returned 8|says 8 of a block"),
    "usable_size too large": (USABLE, USABLE.replace("- address", "- address + 16"), "granted|overlap|not all"),
    "usable_size vast": (USABLE, "    return 1 << 62\n", "not all mapped"),
    "usable_size none": (USABLE, "    end_of(live_block(heap, address))\n", "returned None, which is not a size"),
    "realloc copies nothing": (USABLE, f"{USABLE}{REALLOC}    dealloc(heap, address, size, align)\n"
                               "    return alloc(heap, new_size, align)\n", "changed byte"),
    "realloc gives None": (USABLE, f"{USABLE}{REALLOC}    dealloc(heap, address, size, align)\n", "returned None"),
    "realloc never moves": (USABLE, f"{USABLE}{REALLOC}    return address\n", "overlap|not all mapped|sticks out"),
    "realloc goes astray": (USABLE, f"{USABLE}{REALLOC}    return 1 << 45\n", "not all mapped|not in the heap"),
    "zeros that are none": (
        USABLE, f"{USABLE}\n\ndef alloc_zeroed(heap, size, align):\n    return alloc(heap, size, align)\n", "not zero"),
    "walk of pairs": (WALK, "        yield block.address, block.size\n", "walk yields .start, size, kind."),
    "walk of structs": (WALK, "        yield block, block.size, FREE\n", "walk yields .start, size, kind."),
    "walk of one span": (WALK, "        yield block.address, 16, USED\n", "U5|U9"),
    "walk of another kind": (WALK, WALK.replace("FREE", "17"), "U5|KINDS"),
    "walk that never ends": (WALK, f"{WALK}        while True:\n            yield block.address, 16, FREE\n", "U5|U9"),
    "walk that stands still": (WALK, f"{WALK}        block = block.at(block.address - block.size)\n", "U5|live"),
    "walk that goes back": (WALK, f"{WALK}        yield block.address - 64, 64, FREE\n", "U5|U9"),
    "walk that raises": (WALK, f"{WALK}        raise KeyError(block.size)\n", "KeyError: "),
    "walk that returns": (WALK, f"{WALK}        return\n", "U5|U9|ends at"),
    "check that raises": (CHECK, f"{CHECK}    [].remove(start)\n", "ValueError"),
    "check that is wrong": (CHECK, f"{CHECK}    assert start > end\n", "assert start > end"),
    "a heap that forgets": (TAKE, f"    heap.lists[5] = heap.lists[5].at(NULL)\n{TAKE}", "I3 "),
    "growing with each": (TAKE, f"    heap.memory.sbrk(4096)\n{TAKE}", "."),
    "no promise": ('RETAINS = "all', 'RETAINED = "all', "RETAINS is not declared"),
    "no sentence": ('RETAINS = "all that it ever held: the break is never lowered"', "RETAINS = [1]", "RETAINS is not"),
    "no words": ('DETECTS = ("double free",)', 'DETECTS = ("d",)', "DETECTS has 'd'"),
}  # fmt: skip


@pytest.fixture(autouse=True)
def hasty(monkeypatch):
    monkeypatch.setattr(watchdog.WATCHDOG, "seconds", 0.05)
    monkeypatch.setattr(watchdog, "AGAIN", 0.02)


@pytest.fixture
def write(tmp_path):
    """Write an allocator that is wrong in one place; its path."""

    def make(right, wrong):
        assert SOURCE.count(right) == 1, right
        path = tmp_path / "mine.py"
        path.write_text(SOURCE.replace(right, wrong))
        return path

    return make


def judged(path, checks=CHECKED):
    subject = Subject(str(path), patience=0, seconds=0.02, budget=20_000)
    return list(run(subject, [CHECKS[name] for name in checks]))


@pytest.mark.parametrize("name", BROKEN)
def test_whatever_an_allocator_does_is_its_verdict(name, write):
    right, wrong, said = BROKEN[name]
    outcomes = judged(write(right, wrong))
    failed = [outcome for outcome in outcomes if outcome.verdict is Verdict.FAILS]
    assert len(outcomes) == len(CHECKED) and failed
    told = [f"{each.note}\n{each.story}\n{each.picture}" for each in failed]
    assert any(re.search(said, each) for each in told), told
    assert not any("Traceback" in each or "/heapwright/" in each for each in told)
    json.dumps([outcome.as_json() for outcome in outcomes])


def test_the_one_that_all_of_them_are_made_of_is_sound(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(SOURCE)
    assert {outcome.verdict for outcome in judged(path)} == {Verdict.HOLDS}


def test_faults_cite_the_allocators_lines(write):
    """Where the machine or a layer notices, and where the allocator has returned already."""
    for name in ("misspelt", "alloc gives None", "zeros that are none", "realloc gives None", "walk of pairs"):
        right, wrong, _ = BROKEN[name]
        path = write(right, wrong)
        pictures = [
            each.picture for each in judged(path) if "\n  at " in f"\n{each.picture}" or "during" in each.picture
        ]
        cited = {match[1] for each in pictures for match in re.finditer(r"^ *at (\S+?):\d+ in", each, re.M)}
        assert cited == {"mine.py"}, name


SHOWN = [name for name in BROKEN if name.startswith(("walk", "alloc", "misspelt", "dealloc", "check"))]


@pytest.mark.parametrize("name", SHOWN)
def test_a_program_on_it_does_not_panic(name, write):
    """Step by step: what cannot be drawn is a fault, too."""
    done = CliRunner().invoke(commands.group, ["simulate", "boxtest", "-a", str(write(*BROKEN[name][:2])), "--step"])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    assert "panicked" not in done.output.replace(NO_MEMORY_LEFT, "")
    places = re.findall(r"^  at (\S+?):\d+ in", done.output, re.M)
    assert set(places) <= {"mine.py", "boxtest.py"} and len(places) <= 1


NO_MEMORY_LEFT = "panic: panicked at boxtest.py:8:\nmemory allocation of 4 bytes failed"


# --- one cause is told once


def test_one_cause_is_told_once(write):
    outcomes = judged(write(*BROKEN["alloc of two"][:2]))
    [cause] = [broken for broken in causes_in(outcomes).values() if "takes 2 positional" in broken[0].note]
    assert len(cause) > 10 and cause[0].story == ("a = alloc(24, 16)",) or cause[0].story
    assert all(each.told_by == cause[0].check.name and not each.story and not each.picture for each in cause[1:])


def test_two_causes_are_two(tmp_path):
    path = tmp_path / "mine.py"
    text = SOURCE.replace(USABLE, "    return 8\n").replace(CHECK, f"{CHECK}    [].remove(start)\n")
    path.write_text(text)
    first = [broken[0].note for broken in causes_in(judged(path)).values()]
    assert any("says 8 of a block" in each for each in first) and any("ValueError" in each for each in first)


# --- what is no allocator at all


UNFIT = {
    "a heap that is no struct": ("class Heap(Struct):", "class Heap:", "Heap is a struct"),
    "an alloc that is none": ("GROWTH = 64 << 10\n", "GROWTH = 64 << 10\ndealloc = 5\n", "dealloc"),
    "it leaves": ("GROWTH = 64 << 10\n", "GROWTH = 64 << 10\nraise SystemExit(3)\n", "SystemExit: 3"),
    "a word that is no tuple": ('DETECTS = ("double free",)', 'DETECTS = ("double free")', "DETECTS is a tuple"),
}


@pytest.mark.parametrize("name", UNFIT)
def test_what_cannot_be_loaded_is_told_in_one_line(name, tmp_path):
    right, wrong, said = UNFIT[name]
    text = SOURCE.replace(right, wrong)
    if "dealloc = 5" in wrong:
        text = text.replace("def dealloc(", "def freed(")
    path = tmp_path / "mine.py"
    path.write_text(text)
    with pytest.raises(AllocatorError, match=said):
        Subject(str(path))


# --- at the prompt


def test_a_story_can_be_saved_and_stepped_through(heapwright, write, tmp_path):
    path = write(*BROKEN["dealloc raises"][:2])
    done = heapwright("check", path, "--quick", "-x", "--only", "U9", "--save", "story.py", cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert f"heapwright simulate story.py -a {path} --step" in done.stderr
    stepped = heapwright("simulate", "story.py", "-a", path, "--step", cwd=tmp_path)
    assert stepped.returncode == 1 and "#1 alloc(" in stepped.stdout
    assert "ValueError: Block at" in stepped.stderr and "at mine.py:" in stepped.stderr


def test_the_first_failure_ends_it(heapwright, write):
    path = write(*BROKEN["alloc gives None"][:2])
    done = heapwright("check", path, "--quick", "-x")
    assert (done.returncode, done.stderr) == (1, "")
    first, *_, last = done.stdout.splitlines()
    assert "does not hold" in first and last == f"{path}: 1 does not hold"


def test_all_goes_on_and_json_is_whole(heapwright, write):
    done = heapwright("check", write(*BROKEN["alloc of two"][:2]), "--quick", "--json", "--seed", "5")
    assert (done.returncode, done.stderr) == (1, "")
    report = json.loads(done.stdout)
    assert [each["check"] for each in report["checks"]].sort() == [each.name for each in checks_for(slow=False)].sort()
    assert (
        report["seed"] == 5
        and sum(len(each["checks"]) for each in report["causes"]) == report["counts"]["does not hold"]
    )
    text = heapwright("check", write(*BROKEN["alloc of two"][:2]), "--quick").stdout
    assert re.search(r"one cause breaks \d+ checks: error in the allocator: TypeError", text)
    assert text.count("takes 2 positional") == 2, "its story, and the list of what it breaks"


def test_another_seed_makes_other_stories(write):
    path = write(GROWTH, GROWTH)
    stories = [stories_of(path, seed) for seed in (0, 0, 1)]
    assert stories[0] == stories[1] != stories[2]


GROWTH = "GROWTH = 64 << 10\n"


def stories_of(path, seed):
    from heapwright.conformance.stories import for_all_stories

    told = []
    subject = Subject(str(path), seconds=5, seed=seed)
    for_all_stories(subject, "seeds", last=lambda play: told.append(tuple(play.lines)))
    return told[:5]
