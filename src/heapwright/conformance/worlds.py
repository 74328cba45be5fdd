"""The two worlds: the source's promises, the linter's messages, and the same addresses when compiled."""

from __future__ import annotations

import ast
import random
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from heapwright.conformance.apart import Apart, run_apart
from heapwright.conformance.cface import Suite
from heapwright.conformance.cface import checks as rows_of_the_c_face
from heapwright.conformance.cface.table import Check as Row
from heapwright.conformance.registry import NotApplicable, check
from heapwright.conformance.story import Broken, Play, Step, demand, with_story
from heapwright.conformance.subject import Subject
from heapwright.conformance.verdict import Verdict
from heapwright.describe import Invariant, invariant, invariants_in
from heapwright.dialect import lint
from heapwright.machine import start

DISTANCE = 1 << 40  # from an address in the machine to the compiled heap's: a multiple of any alignment
REQUESTS = 20_000
MAX_LIVE = 100


# --- the source


@check("lint", "the source follows the rules of the dialect")
def dialect(subject: Subject) -> None:
    found = [each for path in subject.sources for each in lint(path) if not each.is_advice]
    if found:
        raise Broken(f"{len(found)} lines break a rule of the dialect", [str(each) for each in found])


@check("numbered_invariants", "each numbered invariant of the docstring has its assert in check, in the same words")
def numbered_invariants(subject: Subject) -> str:
    promised, asserted = invariants_of(subject), asserted_by(subject)
    if not promised:
        raise Broken("the docstring has no numbered invariants")
    unchecked = [text for text in promised.values() if not any(says(text, each) for each in asserted)]
    unsaid = [each for each in sorted(asserted) if not any(says(text, each) for text in promised.values())]
    lines = [f"no assert says: {text}" for text in unchecked] + [
        f"the docstring does not say: {text}" for text in unsaid
    ]
    if lines:
        raise Broken("docstring and check say different things", lines)
    return ", ".join(promised)


def says(promise: Invariant, clause: Invariant) -> bool:
    """Whether an invariant's sentence contains another one of the same number: an invariant may need two asserts."""
    return promise.name == clause.name and clause.sentence in promise.sentence


def invariants_of(subject: Subject) -> dict[str, Invariant]:
    """The numbered invariants of the allocator's docstring, by label."""
    return {each.name: each for each in invariants_in(subject.allocator.parts[-1].__doc__ or "")}


def asserted_by(subject: Subject) -> set[Invariant]:
    """The numbered sentences that the sources assert, without those of layers and of siblings about themselves."""
    bottom, layers = subject.allocator.parts[-1], subject.allocator.parts[:-1]
    found = set()
    for module in subject.modules:
        own = set() if module is bottom else {each.name for each in invariants_in(module.__doc__ or "")}
        if module not in layers and module.__file__:
            texts = texts_in(ast.parse(Path(module.__file__).read_text()))
            found |= {said for text in texts if (said := invariant(text)) and said.name not in own}
    return found


def texts_in(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


# --- compiled


@check("same_addresses", "compiled, the same requests get the same addresses", is_slow=True)
def same_addresses(subject: Subject) -> str:
    if subject.allocator.has_protected_pages:
        raise NotApplicable("it draws at random which blocks lie between protected pages, in each world anew")
    library = compiled(subject)

    def compare(apart: Apart) -> str:
        from heapwright.native.heap import NativeHeap
        from heapwright.native.library import stack_for

        machine = start(stack_for(subject.spec), frames=1 << 18, budget=subject.budget)
        bottom = machine.process.heap_start
        native = NativeHeap(subject.spec, DISTANCE + bottom, machine.process.space.mappings.top - bottom, library)
        native.set_chance(machine.process.coming_random())
        requests = REQUESTS // (10 if subject.is_quick else 1)
        return compare_worlds(Play(machine), native, plausible(requests, subject.rng(7)), apart)

    return run_apart(compare)


def compiled(subject: Subject) -> Path:
    """The subject's library. An allocator that does not compile is Broken; without a compiler, the check is skipped."""
    from heapwright.native.library import library_of
    from heapwright.native.own_sources import CannotBuild

    try:
        return library_of(subject.spec)
    except CannotBuild as error:
        raise NotApplicable(str(error)) from error


def compare_worlds(play: Play, native: object, steps: Iterator[Step], apart: Apart) -> str:
    """Make each request in both worlds, first in the machine: a request that it refuses could do anything compiled."""
    compared = 0
    with with_story(play):
        for step in steps:
            if step.name != "alloc" and not play.blocks:
                continue
            call = compiled_call(native, play, step)
            play.take(step)
            play.lines = play.lines[-40:]
            there = apart.call(play.lines[-1], call)
            if step.name != "free":
                here = play.results[-1] and play.results[-1] + DISTANCE
                demand(here == there, f"compiled, the address is {there - DISTANCE:#x}")
                compared += 1
    return f"{compared} addresses"


def compiled_call(native: object, play: Play, step: Step) -> Callable[[], int]:
    """The same request to the compiled heap, with the blocks as they are before the machine serves it."""
    call: Callable[..., int] = getattr(native, "dealloc" if step.name == "free" else step.name)
    if step.name == "alloc":
        return partial(call, step.size, step.align)
    block = play.block(step)
    more = (step.size,) if step.name == "realloc" else ()
    return partial(call, block.address + DISTANCE, block.size, block.align, *more)


def plausible(requests: int, rng: random.Random) -> Iterator[Step]:
    """Requests with realistic sizes: mostly small, with a long tail."""
    live = 0
    for _ in range(requests):
        choice, size = rng.random(), plausible_size(rng)
        if choice < (0.35 if live < MAX_LIVE else 0.6):
            live = max(live - 1, 0)
            yield Step("free", rng.randrange(MAX_LIVE))
        elif choice > 0.9:
            yield Step("realloc", rng.randrange(MAX_LIVE), size)
        else:
            live += 1
            yield Step("alloc", 0, size, 16 if rng.random() < 0.95 else 1 << rng.randrange(5, 13))


def plausible_size(rng: random.Random) -> int:
    return rng.randrange(200) if rng.random() < 0.8 else int(50 * rng.paretovariate(0.8)) % 20_000


# --- the C face


def register_row(row: Row) -> None:
    """One check for each row of the C face's table."""

    @check(f"C{row.row}_{row.id}", f"compiled, as malloc: {row.requirement}", is_slow=True)
    def hold(subject: Subject) -> str:
        return judge_row(subject, row)


def judge_row(subject: Subject, row: Row) -> str:
    if not shutil.which("cc"):
        raise NotApplicable("there is no C compiler here")
    from heapwright.native.library import cache

    outcome = Suite(cache() / "cface").run(row, compiled(subject))
    if outcome.verdict is Verdict.SKIPPED:
        raise NotApplicable(outcome.reason)
    if outcome.verdict is Verdict.FAILS and not row.informational:
        raise Broken(f"{outcome.reason}; required by {row.basis}")
    return outcome.reason


for _row in rows_of_the_c_face():
    register_row(_row)
