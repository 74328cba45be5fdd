"""Recordings to step through, each made once."""

from functools import cache

import pytest

from heapwright.programs.run import find_program
from heapwright.programs.script import main_of
from heapwright.stepper.recorder import record


@cache
def recording(program, allocator, **options):
    """The recording of a program, or of a script of requests."""
    main = main_of(program) if " " in program else find_program(program)
    return record(main, allocator, (program,), **options)


@pytest.fixture(scope="session")
def recorded():
    return recording
