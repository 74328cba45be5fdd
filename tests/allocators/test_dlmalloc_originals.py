"""Spaces, limits and bulk calls, address for address as dlmalloc 2.8.6: tools/record_spaces.py recorded the original.

Not among the calls is what ours does otherwise on purpose: a limit of 0, memory lent in odd sizes, resized mappings.
"""

from __future__ import annotations

import pytest
from own_functions import Program
from space_replay import PROGRAMS, differences

pytestmark = pytest.mark.long


@pytest.mark.parametrize("text", PROGRAMS, ids=range(len(PROGRAMS)))
def test_each_call_gives_what_the_original_gave(text):
    assert differences(Program("dlmalloc"), text) == []


def test_the_recording_has_every_kind_of_call():
    kinds = {line[0] for text in PROGRAMS for line in text.splitlines()[1:]}
    assert kinds == set("abcfiklmopqrstxz") and len(PROGRAMS) == 8


def test_footers_give_other_addresses():
    """The comparison can fail."""
    assert differences(Program("dlmalloc[FOOTERS=1]"), PROGRAMS[1]) != []
