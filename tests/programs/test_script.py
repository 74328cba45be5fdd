"""Scripts of requests: what they do, and what is wrong with those that cannot be read."""

import pytest

from heapwright.programs.run import run_program
from heapwright.programs.script import BadScript, main_of

WRONG = {
    "": "the script is empty",
    " ; ": "the script is empty",
    "a = 24": "'a = 24' is no request",
    "a = aloc 24": "did you mean 'alloc'?",
    "free a": "free needs the name of a block",
    "a = alloc": "alloc takes 1 to 2 numbers, not 0",
    "a = alloc 24 16 8": "alloc takes 1 to 2 numbers, not 3",
    "a = alloc many": "'many' is not a number of bytes",
    "a = alloc 24; realloc a": "realloc takes 1 number, not 0",
    "a = alloc 24; trim a": "'a' is not a number of bytes",
    "__import__('os')": "is no request",
}


@pytest.mark.parametrize("text", WRONG)
def test_what_cannot_be_read_is_refused_in_one_line(text):
    with pytest.raises(BadScript) as error:
        main_of(text)
    assert WRONG[text] in str(error.value)
    assert "\n" not in str(error.value)


def test_requests_are_made_in_order():
    done = run_program(main_of("a = alloc 24; b = zeroed 0x10\nb = realloc b 300; free a; usable b"), "kr")
    assert (done.exit_code, done.fault, done.operations, done.live_bytes) == (0, None, 4, 300)
    assert done.output[0].startswith("usable_size(")


def test_names_may_be_any_words_and_stories_can_be_pasted():
    done = run_program(main_of("if = alloc(24, 64) -> 0x5010; alloc = alloc(8); free(if); free(alloc)"), "tlsf")
    assert (done.fault, done.live_blocks) == (None, 0)


def test_a_double_free_is_a_fault_of_the_request():
    done = run_program(main_of("a = alloc 24; free a; free a"), "kr")
    assert "double free" in str(done.fault) and "freed at script:2" in str(done.fault)
