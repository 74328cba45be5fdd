"""What is asked, and the whole answer as plain data, which the terminal, the page and JSON show."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median_low
from typing import Any

from heapwright.advise import candidates as mallocs
from heapwright.advise.candidates import Candidate, Today
from heapwright.advise.commands import Program
from heapwright.advise.decide import Judged, is_the_programs, live_share, thresholds
from heapwright.advise.deploy import deployment
from heapwright.advise.figures import Row
from heapwright.advise.holders import Holders, holders_in, holders_of
from heapwright.advise.replays import Recordings, recordings
from heapwright.advise.search import Outcome, Plan, Progress, Subject, advise
from heapwright.advise.settings import OPTIONS
from heapwright.advise.verdict import reasons, verdict
from heapwright.lab.contestant import caller_tuning
from heapwright.lab.machine_facts import machine_facts
from heapwright.lab.processes import choose
from heapwright.traces.importers import open_trace


@dataclass(frozen=True)
class Question:
    """A program or recordings, what runs today, and what candidates are measured on."""

    title: str
    command: str  # as a deployment starts it
    today: Today
    subject: Subject
    judge_on: Subject
    find_holders: Callable[[], Holders | None]
    has_threads: bool = True  # whether settings for threads can have an effect

    @property
    def is_of_program(self) -> bool:
        return isinstance(self.subject, Program)


def about_program(command: Sequence[str], load: str, settle: float, timeout: float) -> Question:
    """Raises CandidateError if no malloc can be chosen for the program."""
    today = mallocs.todays_malloc(command[0])
    program = Program(tuple(command), today, load, settle, timeout)
    text = shlex.join(command)
    return Question(text, text, today, program, program, lambda: holders_of(program))


def about_traces(paths: Sequence[Path], which: str | None, judge: Path | None, today: str) -> Question:
    """Raises UserError if a trace cannot be read or has no such process."""
    subject = recordings_of(paths, which)
    judge_on = recordings_of([judge], which) if judge else subject
    title = ", ".join(map(str, paths))
    return Question(
        title, "./program", Today(today), subject, judge_on, lambda: holders_in(paths[0], which), has_threads=False
    )


def recordings_of(paths: Sequence[Path], which: str | None) -> Recordings:
    return recordings([choose(open_trace(path), which)[0].process for path in paths])


# --- the candidates


def candidates_for(question: Question, texts: Sequence[str]) -> list[Candidate]:
    """Today's malloc, and then those that the user names, or the whole grid."""
    wanted = [mallocs.named(question.today, text) for text in texts] or mallocs.grid(question.today)
    if not question.has_threads:
        wanted = [each for each in wanted if not is_for_threads(each)]
    return [mallocs.today_candidate(question.today), *mallocs.resolved(wanted)]


def is_for_threads(candidate: Candidate) -> bool:
    """Whether a candidate has a setting that has no effect on one thread."""
    known = OPTIONS.get(candidate.family, {})
    return any(known[name].needs_threads for name in candidate.options if name in known)


# --- the answer


def answer(
    question: Question,
    texts: Sequence[str],
    plan: Plan,
    progress: Progress,
    more: Callable[[Row, list[Row]], None] | None = None,
) -> dict[str, Any]:
    """Measure, decide, and say why."""
    progress("mallocs are looked up and compiled")
    found = advise(question.subject, question.judge_on, candidates_for(question, texts), plan, progress, more)
    best = found.recommended
    holders = None if best or found.is_interrupted else held(question, progress)
    return report(question, found, holders)


def held(question: Question, progress: Progress) -> Holders | None:
    progress("nothing helps; the program's requests are recorded, to see who holds the memory")
    return question.find_holders()


def report(question: Question, found: Outcome, holders: Holders | None) -> dict[str, Any]:
    """Everything as plain data."""
    today = found.today or found.searched[0]
    share = live_share(holders.live_bytes if holders else None, today)
    best = found.recommended
    facts = {
        "title": question.title,
        "is_of_program": question.is_of_program,
        "todays_malloc": question.today.family,
        "environment": caller_tuning(),
        "machine": machine_facts(),
        "thresholds": thresholds(found.plan.allowed),
        **found.as_json(),
        "holders": holders.as_json() if holders else None,
        "live_share": share,
        "verdict": kind_of(found, share),
        "reasons": reasons(best) if best else [],
        "risks": best.row.candidate.risks if best else [],
        "effects": effects(best.row.candidate) if best else [],
        "deployment": deployment(best.row.candidate, question.command) if best else {},
        "courses": courses(today, best),
    }
    return {**facts, "sentence": verdict(facts)}


def kind_of(found: Outcome, share: float | None) -> str:
    """The kind of the answer. A malloc that would save memory at a price shows that not all of it is the program's."""
    if found.recommended:
        return "change"
    is_program = is_the_programs(share) and not any(each.is_trade for each in found.judged)
    return "program" if is_program else "nothing"


def effects(candidate: Candidate) -> list[str]:
    """What the settings do."""
    known = OPTIONS.get(candidate.family, {})
    return [f"{name}: {known[name].effect}" for name in candidate.options if name in known]


def courses(today: Row, best: Judged | None) -> dict[str, list[tuple[float, int]]]:
    """Resident memory over time in the runs of median length: the proof."""
    rows = {"today": today, **({"recommended": best.row} if best else {})}
    return {name: course(row) for name, row in rows.items() if row.runs and row.runs[0].course}


def course(row: Row) -> list[tuple[float, int]]:
    times = row.series("time")
    run = row.runs[times.index(median_low(times))]
    return [(round(point.seconds, 3), point.resident) for point in run.course]
