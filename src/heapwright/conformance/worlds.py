"""The two worlds: what the source promises, what the linter says, and the same addresses compiled."""

from __future__ import annotations

import ast
import random
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from heapwright.conformance.cface import Suite, Verdict
from heapwright.conformance.cface import checks as rows_of_the_c_face
from heapwright.conformance.cface.table import Check as Row
from heapwright.conformance.registry import NotApplicable, check
from heapwright.conformance.story import Broken, Play, Step, demand, telling
from heapwright.conformance.subject import Subject
from heapwright.dialect import lint
from heapwright.machine import start

NUMBERED = re.compile(r"([A-Z]{1,2}\d+)\s\s+\S")
HEADING = re.compile(r"^Invariants\b", re.MULTILINE)
DISTANCE = 1 << 40  # from the machine's addresses to the compiled heap's: a multiple of any alignment
REQUESTS = 20_000
MOST_LIVE = 100


# --- the source


@check("lint", "the source keeps the rules of the dialect")
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


def says(sentence: str, clause: str) -> bool:
    """Whether a numbered sentence has another of the same number in it: an invariant may take two asserts."""
    label, _, words = clause.partition(" ")
    return sentence.startswith(f"{label} ") and words in sentence


def invariants_of(subject: Subject) -> dict[str, str]:
    """The numbered invariants of the allocator's docstring: label -> whole sentence."""
    return numbered_in(subject.allocator.parts[-1].__doc__)


def numbered_in(doc: str | None) -> dict[str, str]:
    _, *rest = HEADING.split(doc or "")
    paragraph = re.split(r"\n\s*\n", rest[0].lstrip())[0] if rest else ""
    sentences = re.split(r"\n\s*(?=[A-Z]{1,2}\d+\s\s)", "\n" + paragraph)
    found = [" ".join(text.split()) for text in sentences if NUMBERED.match(text)]
    return {text.split()[0]: text for text in found}


def asserted_by(subject: Subject) -> set[str]:
    """The numbered sentences in the sources, but for layers' and what a sibling says of itself."""
    bottom, layers = subject.allocator.parts[-1], subject.allocator.parts[:-1]
    found = set()
    for module in subject.modules:
        own = set() if module is bottom else set(numbered_in(module.__doc__))
        if module not in layers and module.__file__:
            texts = texts_in(ast.parse(Path(module.__file__).read_text()))
            numbered = {" ".join(text.split()) for text in texts if NUMBERED.match(text)}
            found |= {text for text in numbered if text.split()[0] not in own}
    return found


def texts_in(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


# --- compiled


def needs_a_linker() -> None:
    if not any(shutil.which(name) for name in ("cc", "gcc", "clang", "ld")):
        raise NotApplicable("there is no linker here")


@check("same_addresses", "compiled, the same requests get the same addresses", is_slow=True)
def same_addresses(subject: Subject) -> str:
    needs_a_linker()
    from heapwright.native.heap import NativeHeap
    from heapwright.native.library import stack_for

    machine = start(stack_for(subject.spec), frames=1 << 18, budget=1 << 40)
    bottom = machine.process.heap_start
    native = NativeHeap(subject.spec, DISTANCE + bottom, machine.process.space.areas.top - bottom)
    try:
        return compare_worlds(Play(machine), native, REQUESTS // (10 if subject.is_quick else 1))
    finally:
        native.close()


def compare_worlds(play: Play, native: object, requests: int) -> str:
    """Make each request in both worlds."""
    compared = 0
    with telling(play):
        for step in plausible(requests, seed=7):
            if step.name != "alloc" and not play.blocks:
                continue
            there = call_compiled(native, play, step)
            play.take(step)
            play.lines = play.lines[-40:]
            if step.name != "free":
                here = play.results[-1] and play.results[-1] + DISTANCE
                demand(here == there, f"compiled, the address is {there - DISTANCE:#x}")
                compared += 1
    return f"{compared} addresses"


def call_compiled(native: object, play: Play, step: Step) -> int:
    """The same request of the compiled heap, before the machine gets it: blocks are then as they were."""
    call: Callable[..., int] = getattr(native, "dealloc" if step.name == "free" else step.name)
    if step.name == "alloc":
        return call(step.size, step.align)
    block = play.block(step)
    more = (step.size,) if step.name == "realloc" else ()
    return call(block.address + DISTANCE, block.size, block.align, *more)


def plausible(requests: int, seed: int) -> Iterator[Step]:
    """Requests with sizes as programs have them: small ones mostly, a long tail."""
    rng, live = random.Random(seed), 0
    for _ in range(requests):
        choice, size = rng.random(), plausible_size(rng)
        if choice < (0.35 if live < MOST_LIVE else 0.6):
            live = max(live - 1, 0)
            yield Step("free", rng.randrange(MOST_LIVE))
        elif choice > 0.9:
            yield Step("realloc", rng.randrange(MOST_LIVE), size)
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
    from heapwright.native.library import cache, library_of

    outcome = Suite(cache() / "cface").run(row, library_of(subject.spec))
    if outcome.verdict is Verdict.SKIPPED:
        raise NotApplicable(outcome.reason)
    if outcome.verdict is not Verdict.HOLDS and not row.informational:
        raise Broken(f"{outcome.verdict.value}: {outcome.reason}; on the authority of {row.basis}")
    return outcome.reason or ("" if outcome.verdict is Verdict.HOLDS else outcome.verdict.value)


for _row in rows_of_the_c_face():
    register_row(_row)
