"""The conformance suite: is this module a heap?

    from heapwright.conformance import Subject, checks_for, run
from heapwright.conformance.verdict import Verdict

    for outcome in run(Subject("mine.py"), checks_for()):
        print(outcome.check.name, outcome.verdict, outcome.note)

For pytest there is `parametrize_with_checks`; at a prompt, `heapwright check mine.py`. The stories are made by
Hypothesis.
"""

from heapwright.conformance.parametrize import parametrize_with_checks
from heapwright.conformance.registry import CHECKS, Check, NotApplicable, check
from heapwright.conformance.story import Broken
from heapwright.conformance.subject import Subject
from heapwright.conformance.suite import Outcome, checks_for, run
from heapwright.conformance.verdict import Verdict

__all__ = [
    "CHECKS",
    "Broken",
    "Check",
    "NotApplicable",
    "Outcome",
    "Subject",
    "Verdict",
    "check",
    "checks_for",
    "parametrize_with_checks",
    "run",
]
