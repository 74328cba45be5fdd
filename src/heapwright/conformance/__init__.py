"""The conformance suite: is this module a heap?

    from heapwright.conformance import Subject, checks_for, run

    for outcome in run(Subject("mine.py"), checks_for()):
        print(outcome.check.name, outcome.verdict, outcome.note)

With pytest, use `parametrize_with_checks`; at a prompt, `heapwright check mine.py`. Hypothesis generates the stories.
"""

from heapwright.conformance.parametrize import parametrize_with_checks
from heapwright.conformance.registry import CHECKS, Check, NotApplicable, check
from heapwright.conformance.story import Broken
from heapwright.conformance.subject import Subject
from heapwright.conformance.suite import CheckResult, checks_for, run
from heapwright.conformance.verdict import Verdict

__all__ = [
    "CHECKS",
    "Broken",
    "Check",
    "NotApplicable",
    "CheckResult",
    "Subject",
    "Verdict",
    "check",
    "checks_for",
    "parametrize_with_checks",
    "run",
]
