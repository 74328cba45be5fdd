"""Mutants: the source of an allocator with one small bug planted, and which of the checks kills it.

What is planted: a statement that is left out, a constant off by one, a comparison turned or made strict, a condition
that never holds, plus and minus exchanged, FREE and USED exchanged. It is planted where a request may come: `check`,
and what only it uses, is left alone, and so is what other allocators use of a shared module.
Each mutant is tried in a process of its own, which may loop for ever or die.
"""

from __future__ import annotations

import ast
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from types import ModuleType

from heapwright.allocator import AllocatorError
from heapwright.conformance.kernel import hungry
from heapwright.conformance.registry import CHECKS, Check
from heapwright.conformance.requests import crowd
from heapwright.conformance.story import Play, Step, busy_day
from heapwright.conformance.subject import FOLDER, Subject
from heapwright.conformance.suite import outcome_of
from heapwright.conformance.verdict import Verdict
from heapwright.dialect import INTERFACE
from heapwright.dialect_source import Program

REQUESTS = {*INTERFACE, "survey"}
SECONDS_EACH = 10.0  # of processor time, for one check of a mutant: more is a loop without end
BUDGET = 100_000  # accesses of a call: more is a loop without end
NOT_KILLERS = ("lint", "numbered_invariants")  # they read the source and would see how it was mutated
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
    """One planted bug: where it is, what it is, and the whole source with it."""

    module: str
    path: Path
    line: int
    what: str
    source: str
    spec: str  # of the allocator that it is a part of

    def __str__(self) -> str:
        return f"{self.path.name}:{self.line}: {self.what}"


@dataclass(frozen=True, slots=True)
class Trial:
    """A mutant, and what killed it: the name of a check, "time", "death", "load" or, for a survivor, "".

    A survivor that `is_same` gives what the original gives, in three long stories: it is equivalent, slower or
    faster, or not reached. Any other follows another policy, and is as good a heap for all that the checks can say.
    """

    mutant: Mutant
    killer: str
    is_same: bool = False


# --- planting

Edit = tuple[int, str, Callable[[], None], Callable[[], None]]  # line, what, do and undo


def mutants_of(subject: Subject) -> Iterator[Mutant]:
    """Every mutant of the functions that a request of an allocator may reach, in its module and in siblings."""
    reached = functions_reached(subject)
    for module in subject.modules:
        if module.__file__ and (names := reached.get(Path(module.__file__).resolve())):
            yield from mutants_in(module.__name__, Path(module.__file__), subject.spec, names)


def functions_reached(subject: Subject) -> dict[Path, set[str]]:
    """The functions of each source that the interface of the undermost module of a stack is made of."""
    found: dict[Path, set[str]] = {}
    for key in Program(Path(str(subject.allocator.parts[-1].__file__))).reached(REQUESTS):
        found.setdefault(key.path, set()).add(key.name)
    return found


def mutants_in(name: str, path: Path, spec: str, functions: set[str]) -> Iterator[Mutant]:
    tree = ast.parse(path.read_text())
    for function in tree.body:
        if not isinstance(function, ast.FunctionDef) or function.name not in functions:
            continue
        for line, what, do, undo in edits_in(function):
            do()
            source = ast.unparse(ast.fix_missing_locations(tree))
            undo()
            yield Mutant(name, path, line, f"{function.name}: {what}", source, spec)


def edits_in(function: ast.FunctionDef) -> Iterator[Edit]:
    for node in list(ast.walk(function)):
        yield from dropped(node)
        yield from never(node)
        yield from turned(node)
        yield from off_by_one(node)
        yield from renamed(node)


def dropped(node: ast.AST) -> Iterator[Edit]:
    """Each statement of a block, but for returns, yields and loops, is left out."""
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
    """An operator becomes its opposite."""
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
    most: int | None = None,
    tell: Callable[[str], None] | None = None,
) -> tuple[list[Trial], int]:
    """Try mutants, in an order drawn by lot, until the time is over; the trials, and how many mutants there are.

    What may kill is every quick check that the allocator itself passes.
    """
    mutants = list(mutants_of(subject))
    random.Random(1).shuffle(mutants)
    checks = killers_for(subject)
    usual = behaviour_of(hasty(subject.spec))
    until, trials = time.monotonic() + seconds, list[Trial]()
    for mutant in mutants[:most]:
        if time.monotonic() > until:
            break
        killer, _, behaviour = killer_of(mutant, checks).partition("-")
        trials.append(Trial(mutant, killer, behaviour == usual))
        if tell:
            tell(f"{sum(bool(trial.killer) for trial in trials)} of {len(trials)} mutants killed")
    return trials, len(mutants)


def killers_for(subject: Subject) -> list[Check]:
    """The quick checks that hold, the ones that find most first."""
    names = [*FIRST, *(name for name, check in CHECKS.items() if not check.is_slow and name not in FIRST)]
    quick = hasty(subject.spec)
    wanted = [CHECKS[name] for name in names if name not in NOT_KILLERS]
    return [check for check in wanted if outcome_of(check, quick).verdict is Verdict.HOLDS]


def killer_of(mutant: Mutant, killers: list[Check]) -> str:
    """The name of the check that kills a mutant, in a child process; of a survivor, "-" and what it does."""
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
    """What the child wrote; "time" if its own alarm ended it, "death" if it died."""
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
    """The allocator with one module mutated; only a process that ends soon may load it so."""
    place = folder / mutant.path.name
    place.write_text(mutant.source)
    if not mutant.module.startswith(f"{FOLDER}."):
        return hasty(str(place))
    for name in [name for name in sys.modules if name.startswith(f"{FOLDER}.")]:
        del sys.modules[name]
    module = sys.modules[mutant.module] = ModuleType(mutant.module)
    module.__file__ = str(place)
    exec(compile(mutant.source, str(place), "exec"), module.__dict__)  # noqa: S102  running the mutant is the point
    return hasty(mutant.spec)


def hasty(spec: str) -> Subject:
    """A subject whose failures are not told well, but soon."""
    return Subject(spec, patience=0, budget=BUDGET)


def behaviour_of(subject: Subject) -> str:
    """A number for where every block of three stories lies, and for what is held of the kernel's memory."""
    code = blake2b(digest_size=8)
    for steps in ([*busy_day(), Step("trim")], list(hungry(subject)), crowd(random.Random(3), 120)):
        play = Play(subject.heap(frames=1 << 14))
        for step in [*steps, *[Step("free", 7)] * (len(steps) // 2), *steps[:20], Step("trim")]:
            play.take(step)
            code.update(b"%d " % play.heap.memory.held())
        code.update(repr(play.results).encode())
    return code.hexdigest()
