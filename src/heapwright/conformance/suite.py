"""Run checks on a subject, one after the other, and return the result of each."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from heapwright.conformance import exhaustive, interleavings, kernel, misuse, requests, threads, universal, worlds  # noqa: F401, I001  they register, in this order
from heapwright.conformance.registry import CHECKS, Check, NotApplicable
from heapwright.conformance.story import Broken
from heapwright.conformance.subject import Subject
from heapwright.conformance.verdict import Verdict


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The result of one check: a figure or a reason in `note`; for a failure, also its story and a picture.

    If an earlier check already showed the cause of a failure, the result names that check and has no story.
    """

    check: Check
    verdict: Verdict
    note: str = ""
    story: tuple[str, ...] = ()
    picture: str = ""
    seconds: float = 0.0
    told_by: str = ""
    machine: str = ""  # of the story, as options of `heapwright simulate`

    def as_json(self) -> dict[str, Any]:
        return {
            "check": self.check.name,
            "requirement": self.check.requirement,
            "verdict": self.verdict.value,
            "note": self.note,
            "story": list(self.story),
            "picture": self.picture.splitlines(),
            "told_by": self.told_by or None,
            "seconds": round(self.seconds, 3),
        }


def checks_for(only: Iterable[str] = (), slow: bool = True) -> list[Check]:
    """All checks, or those whose names equal or begin with one of `only`; KeyError for a name that fits none."""
    wanted = list(only)
    for name in wanted:
        if not any(each.startswith(name) for each in CHECKS):
            raise KeyError(name)
    if wanted:
        return [each for each in CHECKS.values() if each.name.startswith(tuple(wanted))]
    return [each for each in CHECKS.values() if slow or not each.is_slow]


def run(subject: Subject, checks: Iterable[Check]) -> Iterator[CheckResult]:
    for check in checks:
        yield outcome_of(check, subject)


def outcome_of(check: Check, subject: Subject) -> CheckResult:
    began = time.perf_counter()
    return replace(judge(check, subject), seconds=time.perf_counter() - began)


def judge(check: Check, subject: Subject) -> CheckResult:
    try:
        return CheckResult(check, Verdict.HOLDS, check(subject) or "")
    except NotApplicable as reason:
        return CheckResult(check, Verdict.SKIPPED, str(reason))
    except Broken as broken:
        teller = subject.causes.setdefault(broken.cause, check.name)
        if teller != check.name:
            return CheckResult(check, Verdict.FAILS, broken.what, told_by=teller)
        return CheckResult(check, Verdict.FAILS, broken.what, broken.lines, broken.picture, machine=broken.machine)


def causes_in(outcomes: Iterable[CheckResult]) -> dict[str, list[CheckResult]]:
    """The failures, in order, by the check that showed their cause."""
    found: dict[str, list[CheckResult]] = {}
    for outcome in outcomes:
        if outcome.verdict is Verdict.FAILS:
            found.setdefault(outcome.told_by or outcome.check.name, []).append(outcome)
    return found
