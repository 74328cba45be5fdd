"""The checks as pytest tests.

@parametrize_with_checks(["mine.py"], known={"mine.py": {"U12_absurd_sizes": "sizes are cut to 32 bits"}})
def test_conforms(subject, check):
    check(subject)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from heapwright.conformance.registry import CHECKS, Check
from heapwright.conformance.story import Broken
from heapwright.conformance.subject import Subject

if TYPE_CHECKING:
    import pytest

Known = Mapping[str, Mapping[str, str]]  # allocator -> check -> the reason why it does not hold


def parametrize_with_checks(
    specs: Iterable[str],
    known: Known | None = None,
    is_quick: bool = True,
    marks: Mapping[str, pytest.MarkDecorator] | None = None,
) -> pytest.MarkDecorator:
    """Call a test with each (subject, check); slow checks are marked `slow`, and those in `marks` as it says.

    A known failure must fail. One that holds is an error, so that the list stays true.
    """
    import pytest

    from heapwright.conformance import suite  # noqa: F401  the checks register

    known, marks = known or {}, marks or {}
    for spec, reasons in known.items():
        refuse_unknown(reasons, f"known failures of {spec}")
    refuse_unknown(marks, "marks")
    subjects = [Subject(spec, is_quick) for spec in specs]
    cases = [case for subject in subjects for case in cases_of(subject, known.get(subject.spec, {}), marks)]
    return pytest.mark.parametrize(("subject", "check"), cases)


def refuse_unknown(names: Iterable[str], where: str) -> None:
    unknown = [name for name in names if name not in CHECKS]
    if unknown:
        raise ValueError(f"{where}: there is no check '{unknown[0]}'")


def cases_of(subject: Subject, reasons: Mapping[str, str], marks: Mapping[str, pytest.MarkDecorator]) -> Iterator[Any]:
    import pytest

    for check in CHECKS.values():
        own = [marks[check.name]] if check.name in marks else []
        own += marks_of(check, reasons.get(check.name))
        yield pytest.param(subject, check, id=f"{subject.allocator.name}-{check.name}", marks=own)


def marks_of(check: Check, reason: str | None) -> Iterator[pytest.MarkDecorator]:
    import pytest

    if check.is_slow:
        yield pytest.mark.slow
    if reason is not None:
        yield pytest.mark.xfail(reason=reason, strict=True, raises=Broken)
