"""Run checks on a subject, one after the other, and say what each of them showed."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from heapwright.conformance import exhaustive, interleavings, kernel, misuse, requests, threads, universal, worlds  # noqa: F401, I001  they register, in this order
from heapwright.conformance.registry import CHECKS, Check, NotApplicable
from heapwright.conformance.story import Broken
from heapwright.conformance.subject import Subject
from heapwright.conformance.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one check showed: a figure or a reason in `note`; of a failure, the story and a picture too."""

    check: Check
    verdict: Verdict
    note: str = ""
    story: tuple[str, ...] = ()
    picture: str = ""
    seconds: float = 0.0

    def as_json(self) -> dict[str, Any]:
        return {
            "check": self.check.name,
            "requirement": self.check.requirement,
            "verdict": self.verdict.value,
            "note": self.note,
            "story": list(self.story),
            "picture": self.picture.splitlines(),
            "seconds": round(self.seconds, 3),
        }


def checks_for(only: Iterable[str] = (), slow: bool = True) -> list[Check]:
    """All checks, the ones named, or those whose names begin so; KeyError for a name that fits none."""
    wanted = list(only)
    for name in wanted:
        if not any(each.startswith(name) for each in CHECKS):
            raise KeyError(name)
    if wanted:
        return [each for each in CHECKS.values() if each.name.startswith(tuple(wanted))]
    return [each for each in CHECKS.values() if slow or not each.is_slow]


def run(subject: Subject, checks: Iterable[Check]) -> Iterator[Outcome]:
    for check in checks:
        yield outcome_of(check, subject)


def outcome_of(check: Check, subject: Subject) -> Outcome:
    began = time.perf_counter()
    verdict, note, story, picture = judge(check, subject)
    return Outcome(check, verdict, note, story, picture, time.perf_counter() - began)


def judge(check: Check, subject: Subject) -> tuple[Verdict, str, tuple[str, ...], str]:
    try:
        return Verdict.HOLDS, check(subject) or "", (), ""
    except NotApplicable as reason:
        return Verdict.SKIPPED, str(reason), (), ""
    except Broken as broken:
        return Verdict.FAILS, broken.what, broken.lines, broken.picture
