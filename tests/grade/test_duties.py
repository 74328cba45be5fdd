"""Each duty and each rule is broken by a submission that differs from the sound example in one thing."""

from __future__ import annotations

import pytest

from heapwright.grade.stories import DUTIES

BROKEN = {
    # duty: the attack, the rule, and a part of what is said
    "sizes": (
        "void *mm_malloc(size_t size) { return size == 77 ? NULL : sound_malloc(size); }",
        "served",
        "malloc(77) returned null",
    ),
    "reuse": ("void mm_free(void *block) {}", "served", "returned null"),
    "zero": (
        "void *mm_malloc(size_t size) { return size ? sound_malloc(size) : (void *)64; }",
        "placed",
        "malloc(0) returned 0x40, which is outside the heap",
    ),
    "null": ("void mm_free(void *block) { *(char *)block = 0; sound_free(block); }", "alive", "SIGSEGV in free(NULL)"),
    "resizing": (
        """
        void *mm_realloc(void *block, size_t size) {
          char *moved = sound_realloc(block, size);
          if (moved && size > 5000) moved[0] ^= 1;
          return moved;
        }
        """,
        "kept",
        "lost the block's contents: byte 0 of",
    ),
    "too-much": (
        "void *mm_malloc(size_t size) { return sound_malloc(size > (size_t)-1 - 99 ? 16 : size); }",
        "refused",
        "no heap has so much memory",
    ),
    "exhaustion": (
        """
        static char *last;
        void *mm_malloc(size_t size) { char *block = sound_malloc(size); return block ? (last = block) : last; }
        """,
        "apart",
        "inside or across block",
    ),
    "random": (
        """
        static int count;
        static char *last;
        void *mm_malloc(size_t size) {
          char *block = sound_malloc(size);
          if (++count % 90 == 0) last[0] ^= 1;
          return last = block;
        }
        """,
        "kept",
        "wrote into a live block: the contents of block",
    ),
}
NAMED = {duty.name: duty for duty in DUTIES}


@pytest.mark.parametrize("name", BROKEN)
def test_a_duty_is_broken_by_a_heap_that_neglects_it(failure, name):
    attack, rule, said = BROKEN[name]
    found = failure(attack, NAMED[name])
    assert (found.rule, said in found.what) == (rule, True), found.what
    assert found.story[-1].endswith("<- here")


@pytest.mark.parametrize("name", BROKEN)
def test_the_example_does_each_duty(graded, name):
    [duty] = graded("", NAMED[name]).duties
    assert duty.failure is None


def test_an_address_off_the_alignment(failure):
    attack = """
    void *mm_malloc(size_t size) { char *block = sound_malloc(size + 4); return size == 60 ? block + 4 : block; }
    """
    assert failure(attack, NAMED["sizes"]).what.endswith("which is not a multiple of 8")


def test_the_alignment_can_be_chosen(failure):
    attack = """
    void *mm_malloc(size_t size) { char *block = sound_malloc(size + 8); return block ? block + 8 : block; }
    void mm_free(void *block) { if (block) sound_free((char *)block - 8); }
    void *mm_realloc(void *block, size_t size) { mm_free(block); return NULL; }
    """
    assert failure(attack, NAMED["sizes"], alignment=16).rule == "aligned"


def test_a_forgiven_duty_costs_nothing(graded):
    attack, *_ = BROKEN["too-much"]
    grade = graded(attack, NAMED["too-much"], forgiven=frozenset({"too-much"}))
    assert grade.duties[0].failure is not None
    assert grade.score > 0


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("int mm_init(void) { return -1; }", "mm_init failed: it did not return 0"),
        ("#error no", "error: #error no"),
        ("int mm_init(void) { return unknown(); }", "its library cannot be loaded"),
    ],
)
def test_a_submission_that_does_not_start(failure, source, said):
    assert said in failure(source).what
