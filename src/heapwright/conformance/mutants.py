"""Mutants: the source of an allocator with one small bug planted, and the check that kills it.

The bugs: a statement left out, a constant off by one, a comparison reversed or made strict, a condition that never
holds, plus and minus exchanged, FREE and USED exchanged. Bugs are planted only in code that a request may reach,
and not in branches that constants switch off: those belong to variants. `check` and code that only it uses stay
unchanged, and so does code of a shared module that only other allocators use. Each mutant is tried in a child process,
because it may loop for ever or die.
"""

from __future__ import annotations

import ast
import os
import random
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from heapwright import allocators
from heapwright.allocator import PACKAGE_FILE, parse
from heapwright.conformance.configured import Configured, configured
from heapwright.conformance.kernel import hungry
from heapwright.conformance.registry import CHECKS, Check
from heapwright.conformance.requests import crowd
from heapwright.conformance.story import Play, Step, busy_day
from heapwright.conformance.subject import FOLDER, Subject
from heapwright.conformance.suite import outcome_of
from heapwright.conformance.verdict import Verdict
from heapwright.dialect.source import INTERFACE
from heapwright.errors import AllocatorError
from heapwright.machine.source import file_name
from heapwright.variants import base_of

REQUESTS = {*INTERFACE, "survey"}
ASKED_IF_DETECTED = {"expect_size": "wrong size", "expect_room": "copy"}
SECONDS_EACH = 10.0  # of processor time, for one check of a mutant: more counts as an endless loop
BUDGET = 100_000  # accesses of a call: more counts as an endless loop
NOT_KILLERS = ("lint", "numbered_invariants")  # they read the source and would see the mutation
FIRST = ("own_invariants", "U9_used_or_free", "exhaustive")  # the best killers

OPPOSITE: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.And: ast.Or, ast.Or: ast.And,
}  # fmt: skip
KINDS = {"FREE": "USED", "USED": "FREE"}
SIGNS: dict[type[ast.AST], str] = {
    ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!=",
    ast.Add: "+", ast.Sub: "-", ast.And: "and", ast.Or: "or",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Mutant:
    """One planted bug: its place, its description, and the whole source with it."""

    module: str
    path: Path
    line: int
    what: str
    source: str
    spec: str  # of the allocator that it belongs to

    @property
    def file(self) -> str:
        """Its file as it is cited, such as `kr.py` or `tlsf/blocks.py`."""
        return file_name(self.path)

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.what}"


@dataclass(frozen=True, slots=True)
class Trial:
    """A mutant, and what killed it: the name of a check, "time", "death", "load" or, for a survivor, "".

    A survivor with `is_same` returns the same addresses as the original in three long stories: it is equivalent, slower
    or faster, or its bug is not reached. Any other survivor follows another policy that the checks accept.
    """

    mutant: Mutant
    killer: str
    is_same: bool = False


# --- planting

Edit = tuple[int, str, Callable[[], None], Callable[[], None]]  # line, what, do and undo


def mutants_of(subject: Subject) -> Iterator[Mutant]:
    """Every mutant of the functions that a request may reach, in the allocator's module and its siblings."""
    reached = functions_reached(subject)
    for module in subject.modules:
        if module.__file__ and (names := reached.get(Path(module.__file__).resolve())):
            yield from mutants_in(module, subject.spec, names)


def functions_reached(subject: Subject) -> dict[Path, set[str]]:
    """The functions of each source that the interface of a stack's lowest module uses."""
    found: dict[Path, set[str]] = {}
    lowest = subject.allocator.parts[-1]
    unasked = {name for name, kind in ASKED_IF_DETECTED.items() if kind not in getattr(lowest, "DETECTS", ())}
    for key in Configured(Path(str(lowest.__file__)), subject.modules).reached(REQUESTS - unasked):
        found.setdefault(key.path, set()).add(key.name)
    return found


def mutants_in(module: ModuleType, spec: str, functions: set[str]) -> Iterator[Mutant]:
    tree, path = configured(module), Path(str(module.__file__))
    for function in tree.body:
        if not isinstance(function, ast.FunctionDef) or function.name not in functions:
            continue
        for line, what, do, undo in edits_in(function):
            do()
            source = ast.unparse(ast.fix_missing_locations(tree))
            undo()
            yield Mutant(module.__name__, path, line, f"{function.name}: {what}", source, spec)


def edits_in(function: ast.FunctionDef) -> Iterator[Edit]:
    for node in list(ast.walk(function)):
        yield from dropped(node)
        yield from never(node)
        yield from turned(node)
        yield from off_by_one(node)
        yield from renamed(node)


def dropped(node: ast.AST) -> Iterator[Edit]:
    """Leave out each statement of a block except returns, yields and loops."""
    blocks: list[object] = [getattr(node, name, None) for name in ("body", "orelse")]
    for block in blocks:
        for i, statement in enumerate(block if isinstance(block, list) else ()):
            if isinstance(block, list) and is_effect(statement):
                yield replacing(block, i, ast.Pass(), f"without `{ast.unparse(statement)}`")


def is_effect(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.Assign):
        return all(isinstance(target, (ast.Attribute, ast.Subscript)) for target in statement.targets)
    return isinstance(statement, ast.AugAssign) or (
        isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call)
    )


def replacing(block: list[ast.stmt], i: int, new: ast.stmt, what: str) -> Edit:
    old = block[i]

    def do() -> None:
        block[i] = new

    def undo() -> None:
        block[i] = old

    return old.lineno, what, do, undo


def setting(node: ast.AST, field: str, new: object, line: int, what: str) -> Edit:
    old = getattr(node, field)
    return line, what, lambda: setattr(node, field, new), lambda: setattr(node, field, old)


def never(node: ast.AST) -> Iterator[Edit]:
    if isinstance(node, (ast.If, ast.IfExp)):
        yield setting(node, "test", ast.Constant(False), node.lineno, f"never `if {ast.unparse(node.test)}`")


def turned(node: ast.AST) -> Iterator[Edit]:
    """Replace an operator by its opposite."""
    if isinstance(node, ast.Compare):
        for i, operator in enumerate(node.ops):
            if type(operator) in OPPOSITE:
                new = [*node.ops[:i], OPPOSITE[type(operator)](), *node.ops[i + 1 :]]
                yield setting(node, "ops", new, node.lineno, swap_text(operator, node))
    elif isinstance(node, (ast.BinOp, ast.AugAssign, ast.BoolOp)) and type(node.op) in OPPOSITE:
        yield setting(node, "op", OPPOSITE[type(node.op)](), node.lineno, swap_text(node.op, node))


def swap_text(operator: ast.AST, node: ast.AST) -> str:
    return f"`{SIGNS[OPPOSITE[type(operator)]]}` for `{SIGNS[type(operator)]}` in `{ast.unparse(node)}`"


def off_by_one(node: ast.AST) -> Iterator[Edit]:
    if isinstance(node, ast.Constant) and type(node.value) is int:
        for new in (node.value + 1, node.value - 1):
            yield setting(node, "value", new, node.lineno, f"{new} for {node.value}")


def renamed(node: ast.AST) -> Iterator[Edit]:
    if isinstance(node, ast.Name) and node.id in KINDS:
        yield setting(node, "id", KINDS[node.id], node.lineno, f"{KINDS[node.id]} for {node.id}")


# --- trying


def try_mutants(
    subject: Subject,
    seconds: float,
    maximum: int | None = None,
    tell: Callable[[str], None] | None = None,
) -> tuple[list[Trial], int]:
    """Try mutants in random order for so many seconds of processor time; return the trials and the number of mutants.

    Each quick check that the allocator itself passes may kill a mutant.
    """
    mutants = list(mutants_of(subject))
    random.Random(1).shuffle(mutants)
    checks = killers_for(subject)
    usual = behaviour_of(hasty(subject.spec))
    until, trials = spent() + seconds, list[Trial]()
    for mutant in mutants[:maximum]:
        if spent() > until:
            break
        killer, _, behaviour = killer_of(mutant, checks).partition("-")
        trials.append(Trial(mutant, killer, behaviour == usual))
        if tell:
            tell(f"{sum(bool(trial.killer) for trial in trials)} of {len(trials)} mutants killed")
    return trials, len(mutants)


def spent() -> float:
    """The processor time in seconds of this process and of the children that ended."""
    return sum(os.times()[:4])


def killers_for(subject: Subject) -> list[Check]:
    """The quick checks that hold, most effective first."""
    names = [*FIRST, *(name for name, check in CHECKS.items() if not check.is_slow and name not in FIRST)]
    quick = hasty(subject.spec)
    wanted = [CHECKS[name] for name in names if name not in NOT_KILLERS]
    return [check for check in wanted if outcome_of(check, quick).verdict is Verdict.HOLDS]


def killer_of(mutant: Mutant, killers: list[Check]) -> str:
    """The name of the check that kills a mutant, from a child process; for a survivor, "-" and its behaviour."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        answer_and_exit(mutant, killers, writer)
    os.close(writer)
    answer = answer_of(child, reader)
    os.close(reader)
    return answer


def answer_and_exit(mutant: Mutant, killers: list[Check], writer: int) -> None:
    status = 1
    try:
        os.write(writer, first_killer(mutant, killers).encode())
        status = 0
    finally:
        os._exit(status)


def answer_of(child: int, reader: int) -> str:
    """The text that the child wrote; "time" if its alarm ended it, "death" if it died otherwise."""
    answer = os.read(reader, 200).decode()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGVTALRM:
        return "time"
    return answer or "death"


def first_killer(mutant: Mutant, killers: list[Check]) -> str:
    with tempfile.TemporaryDirectory() as folder:
        try:
            subject = planted(mutant, Path(folder))
        except (AllocatorError, SyntaxError):
            return "load"
        for check in killers:
            signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS_EACH)
            if outcome_of(check, subject).verdict is Verdict.FAILS:
                return check.name
        return f"-{behaviour_of(subject)}"


def planted(mutant: Mutant, folder: Path) -> Subject:
    """The allocator with one module mutated; load it only in a process that ends soon."""
    place = folder / mutant.path.name
    if mutant.module.startswith(f"{FOLDER}."):
        place.write_text(mutant.source)
        forget_shared()
        sys.meta_path.insert(0, Planting(mutant.module, place, mutant.path))
        return hasty(mutant.spec)
    if mutant.path.name == PACKAGE_FILE or not mutant.module.endswith("]"):
        folder /= mutant.path.parent.name
        shutil.copytree(mutant.path.parent, folder)
        place = folder / PACKAGE_FILE
    (folder / mutant.path.name).write_text(mutant.source)
    lowest = parse(mutant.spec)[-1]
    return hasty(f"{place}{lowest.removeprefix(base_of(lowest))}")


def forget_shared() -> None:
    """Make the next import of each module that allocators share load it again."""
    for name in [name for name in sys.modules if name.startswith(f"{FOLDER}.")]:
        vars(allocators).pop(name.removeprefix(f"{FOLDER}."), None)
        del sys.modules[name]


class Planting(NamedTuple):
    """An import hook that finds another source for one module."""

    module: str
    place: Path
    instead_of: Path

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if name != self.module:
            return None
        rooms = [str(self.instead_of.parent)] if self.instead_of.name == PACKAGE_FILE else None
        return spec_from_file_location(name, self.place, submodule_search_locations=rooms)


def hasty(spec: str) -> Subject:
    """A subject that reports failures quickly, without shortening their stories."""
    return Subject(spec, patience=0, budget=BUDGET)


def behaviour_of(subject: Subject) -> str:
    """A hash of the addresses in three stories and of the memory held."""
    code = blake2b(digest_size=8)
    for steps in ([*busy_day(), Step("trim")], list(hungry(subject)), crowd(random.Random(3), 120)):
        play = Play(subject.heap(frames=1 << 14))
        for step in [*steps, *[Step("free", 7)] * (len(steps) // 2), *steps[:20], Step("trim")]:
            play.take(step)
            code.update(b"%d " % play.heap.memory.held())
        code.update(repr(play.results).encode())
    return code.hexdigest()
