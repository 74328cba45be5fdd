"""Programs are found by their names."""

import pytest

from heapwright.programs.run import UnknownProgram, find_program


def test_an_unknown_program():
    with pytest.raises(UnknownProgram, match="no program is named 'boxtst': did you mean 'boxtest'"):
        find_program("boxtst")
    with pytest.raises(UnknownProgram, match="there are boxtest, vectest"):
        find_program("zzz")
