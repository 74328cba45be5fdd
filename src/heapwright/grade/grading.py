"""A grading from beginning to end: compile, conformance, traces, time, score."""

from __future__ import annotations

import os
import random
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from heapwright.grade import stories, submission, timing
from heapwright.grade.judge import Failure, Figures, Judge
from heapwright.grade.output import last_lines
from heapwright.grade.player import PATIENCE, Ended, Player, Setting, Silent, whole_pages
from heapwright.grade.requests import Request, blocks_of, of_events, peak_payload
from heapwright.grade.sandbox import MIB, require_sandbox
from heapwright.grade.submission import Subject
from heapwright.grade.workloads import DRAWN
from heapwright.traces.events import TraceError
from heapwright.traces.importers import open_trace
from heapwright.wording import counted

T = TypeVar("T")
AT_A_TIME = 8  # graded processes
CAREFUL_REQUESTS = 5000  # a later failure is not sought again
MAX_PAYLOAD = 1 << 30
BUILDS = "builds"
OUTPUT_LINES = 5  # of what the submission printed before it failed


@dataclass(frozen=True)
class Rules:
    """What is graded, and how it is scored."""

    weight: float = 60  # points for utilization; the rest are for throughput
    against: str = submission.SYSTEM
    alignment: int | None = None  # bytes; None: 8 for mm.c, 16 for Python
    forgiven: frozenset[str] = frozenset()
    repeats: int = 5
    seconds: float = 10  # for one answer
    seed: int = 0
    has_advice: bool = False  # whether `heapwright check` runs, too


@dataclass
class Outcome:
    """A duty or a trace, and the failure if there was one."""

    name: str
    sentence: str
    failure: Failure | None = None
    is_forgiven: bool = False
    printed: list[str] = field(default_factory=list)  # by the submission, before it failed


@dataclass
class OnTrace(Outcome):
    """What a submission did on one trace."""

    requests: list[Request] = field(default_factory=list)
    figures: Figures = field(default_factory=Figures)
    addresses: list[int] = field(default_factory=list)
    time: timing.Time | None = None


@dataclass
class Grade:
    """All that a grading found."""

    name: str
    rules: Rules
    build: Outcome
    alignment: int | None = None  # bytes, that every block owed
    duties: list[Outcome] = field(default_factory=list)
    traces: list[OnTrace] = field(default_factory=list)
    advice: list[str] = field(default_factory=list)  # by the submission's own process: it does not count

    @property
    def failures(self) -> list[Outcome]:
        every = [self.build, *self.duties, *self.traces]
        return [each for each in every if each.failure and not each.is_forgiven]

    @property
    def utilization(self) -> float:
        """The mean over the traces."""
        return sum(each.figures.utilization for each in self.traces) / max(1, len(self.traces))

    @property
    def throughput(self) -> float:
        """In parts of the reference's, over the requests of all traces."""
        times = [each.time for each in self.traces if each.time]
        own = sum(each.own_seconds for each in times)
        return sum(each.reference_seconds for each in times) / own if own else 0.0

    @property
    def score(self) -> float:
        """From 0 to 100."""
        if self.failures or not self.traces:
            return 0.0
        weight = self.rules.weight
        return weight * self.utilization + (100 - weight) * min(1.0, self.throughput)


class Grader:
    """One submission with its rules, in a folder of its own."""

    def __init__(self, scratch: Path, rules: Rules, progress: Callable[[str], None]):
        self.scratch, self.rules, self.progress = scratch, rules, progress
        self.players: list[Player] = []
        self.is_stopped = False
        self.driver = submission.compiled_driver(scratch)
        self.against = submission.reference(rules.against)

    def grade(self, path: Path, traces: dict[str, list[Request]]) -> Grade:
        built = Outcome(BUILDS, "it keeps the rules of the language and compiles")
        grade = Grade(path.name, self.rules, built)
        try:
            subject = submission.compiled(path, self.scratch, self.rules.alignment, self.progress)
        except submission.NotBuilt as error:
            built.failure = Failure("compiled", str(error))
            return grade
        grade.alignment = subject.alignment
        duties = [duty for duty in stories.DUTIES if subject.face != submission.LAB or duty.is_in_lab]
        grade.duties = self.together([partial(self.on_duty, subject, duty) for duty in duties])
        grade.traces = self.together([partial(self.on_trace, subject, *each) for each in traces.items()])
        if not grade.failures:
            for trace in grade.traces:
                self.time(subject, trace)
        if self.rules.has_advice:
            self.progress("heapwright check --quick")
            grade.advice = submission.advice(path, self.scratch)
        return grade

    def together(self, tasks: Sequence[Callable[[], T]]) -> list[T]:
        """Do several things at a time, because each mostly waits for answers. An interrupt ends all processes."""
        with ThreadPoolExecutor(AT_A_TIME) as pool:
            try:
                return list(pool.map(lambda task: task(), tasks))
            except BaseException:
                self.is_stopped = True
                pool.shutdown(wait=False, cancel_futures=True)
                for player in self.players:
                    player.end()
                raise

    def chance(self, name: str) -> random.Random:
        """Chance for one purpose, so that the order of the tasks does not matter."""
        return random.Random(f"{self.rules.seed} {name}")

    # --- conformance

    def on_duty(self, subject: Subject, duty: stories.Duty) -> Outcome:
        self.progress(f"conformance: {duty.name}")
        outcome = Outcome(duty.name, duty.sentence, is_forgiven=duty.name in self.rules.forgiven)
        self.judged(subject, outcome, list(duty.story(self.chance(duty.name))), stories.REGION)
        return outcome

    def judged(self, subject: Subject, outcome: Outcome, requests: Sequence[Request], region: int) -> Judge | None:
        """Play requests one at a time and note the failure, if there is one."""
        setting = self.setting(requests, region)
        try:
            return self.play(subject, setting, requests)
        except Failure as failure:
            outcome.printed = last_lines(setting.log, OUTPUT_LINES)
            outcome.failure = self.explained(subject, setting, requests, failure)
        return None

    def play(self, subject: Subject, setting: Setting, requests: Sequence[Request], is_careful: bool = False) -> Judge:
        chance = self.chance(f"contents of {len(requests)} requests")
        if self.is_stopped:
            raise Failure("alive", "the grading was interrupted")
        player = Player(subject, setting)
        self.players.append(player)
        try:
            with player:
                return Judge(player, subject.alignment, chance, is_careful).play(requests)
        except Ended as end:
            raise Failure(end.rule, str(end)) from None

    def explained(self, subject: Subject, setting: Setting, requests: Sequence[Request], failure: Failure) -> Failure:
        """The failure, or what a careful second run finds before it: a request that damaged a block, for example."""
        if failure.rule != Silent.rule and failure.number <= CAREFUL_REQUESTS:
            try:
                self.play(subject, setting, requests[: failure.number + 1], is_careful=True)
            except Failure as first:
                return first if first.number < failure.number or first.rule == "kept" else failure
        return failure

    def setting(self, requests: Sequence[Request], region: int) -> Setting:
        number, log = tempfile.mkstemp(dir=self.scratch, prefix="printed-")
        os.close(number)
        return Setting(self.driver, Path(log), region, blocks_of(requests), seconds=self.rules.seconds)

    # --- traces

    def on_trace(self, subject: Subject, name: str, requests: list[Request]) -> OnTrace:
        self.progress(f"{name}: {counted(len(requests), 'requests')}")
        sentence = f"all {counted(len(requests), 'requests')} are served as they must be"
        outcome = OnTrace(name, sentence, requests=requests)
        judge = self.judged(subject, outcome, requests, region_for(requests))
        if judge:
            outcome.figures, outcome.addresses = judge.figures, judge.results
        return outcome

    def time(self, subject: Subject, trace: OnTrace) -> None:
        """Time one trace, and note the failure if the submission does otherwise then."""
        self.progress(f"{trace.name}: time")
        setting = self.setting(trace.requests, region_for(trace.requests))
        patience = PATIENCE * self.rules.seconds  # a batch may take as long as all answers of a judged run
        setting = replace(setting, batch=len(trace.requests), seconds=patience, is_stamped=True)
        pair = (
            replace(setting, populated=resident(trace.figures.claimed, setting.region_bytes)),
            timing.reference_setting(setting, self.against, trace.figures.peak_payload),
        )
        try:
            race = timing.Race(subject, self.against, *pair, trace.requests, trace.addresses)
            trace.time = race.timed(self.rules.repeats, self.chance(trace.name))
        except Failure as failure:
            trace.failure = failure


def resident(claimed: tuple[int, int], region: int) -> tuple[int, int]:
    """What is resident when the clock starts. A submission that claims more than there is gains nothing."""
    at_start = min(claimed[0], region)
    return at_start, whole_pages(min(claimed[1], region - whole_pages(at_start)))


def region_for(requests: Sequence[Request]) -> int:
    """The memory for a trace: far more than a heap needs."""
    return whole_pages(8 * peak_payload(requests) + 16 * MIB)


def read_traces(paths: Sequence[Path]) -> dict[str, list[Request]]:
    """The requests of each trace file, or of each file in a folder. Raises TraceError."""
    files = [each for path in paths for each in (sorted(path.iterdir()) if path.is_dir() else [path])]
    names = Counter(path.name for path in files)
    read = {
        path.name if names[path.name] == 1 else str(path): of_events(open_trace(path).largest.events)
        for path in files
        if path.is_file()
    }
    for name, requests in read.items():
        require_playable(name, requests)
    if not read:
        raise TraceError(f"{paths[0]}: there is no trace in it")
    return read


def require_playable(name: str, requests: Sequence[Request]) -> None:
    if not requests:
        raise TraceError(f"{name}: has no requests to grade")
    if peak_payload(requests) > MAX_PAYLOAD:
        raise TraceError(f"{name}: more than {MAX_PAYLOAD >> 30} GiB are live at its peak; grade with a smaller trace")


def drawn_traces(seed: int) -> dict[str, list[Request]]:
    """The workloads, drawn from a seed."""
    return {name: of_events(draw(random.Random(f"{seed} {name}"))) for name, draw in DRAWN.items()}


def grade(
    path: Path, rules: Rules, traces: dict[str, list[Request]], progress: Callable[[str], None] = lambda line: None
) -> Grade:
    """Grade one submission. Raises UserError if it is none, or if there is no sandbox."""
    submission.submitted(path)
    require_sandbox()
    with tempfile.TemporaryDirectory(prefix="heapwright-grade-") as scratch:
        return Grader(Path(scratch), rules, progress).grade(path, traces)
