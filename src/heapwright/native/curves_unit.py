"""The worker that follows the parts of a heap, as one library: for a heap of ours, with its compiled `walk`."""

from __future__ import annotations

from pathlib import Path
from types import FunctionType
from typing import Any

from heapwright.allocator import Allocator
from heapwright.native.compiler import Export, Unit
from heapwright.native.functions import over_pointers
from heapwright.native.jobs import curves
from heapwright.native.jobs.curves_job import Job, Parts
from heapwright.native.portable import portable

WALK = Path(__file__).parent / "jobs" / "curves_walk.py"


def curves_unit(stack: Allocator | None) -> Unit:
    work: Any = curves.follow
    begin = Export("heapwright_job", portable(work), 0)  # the shell calls this name at load time
    exports = (begin, Export("heapwright_count_parts", counter_of(stack), 4)) if stack else (begin,)
    return Unit(exports, {}, 0, frozenset(), is_heap=False)


def counter_of(stack: Allocator) -> FunctionType:
    """The function that adds up the parts of a stack's heap. The fourth argument is not used."""
    module = stack.bind(WALK)
    return over_pointers(module.count_parts, (module.Heap, Job, Parts, None))
