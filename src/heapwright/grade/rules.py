"""The rules of the score, in words, and a grade as plain data."""

from __future__ import annotations

from typing import Any

from heapwright.grade.grading import Grade, OnTrace, Outcome
from heapwright.grade.lessons import lessons, places

RULES = """\
score = U points x utilization + (100 - U) points x throughput, and 0 if a check fails
U            60, or what --utilization says
utilization  peak payload / peak heap, the mean over the traces
throughput   requests in a second of processor time, divided by the reference's, at most 1"""


def as_dict(grade: Grade) -> dict[str, Any]:
    """A grade for JSON. Sizes are bytes, times nanoseconds."""
    rules = grade.rules
    return {
        "submission": grade.name,
        "score": round(grade.score, 1),
        "passed": not grade.failures,
        "utilization": grade.utilization,
        "throughput": grade.throughput,
        "rules": {
            "text": RULES,
            "utilization_points": rules.weight,
            "against": rules.against,
            "alignment": grade.alignment,
            "forgiven": sorted(rules.forgiven),
            "repeats": rules.repeats,
            "seconds": rules.seconds,
            "seed": rules.seed,
        },
        "build": of_outcome(grade.build),
        "conformance": [of_outcome(each) for each in grade.duties],
        "traces": [of_trace(each) for each in grade.traces],
        "advice": grade.advice,
    }


def of_outcome(outcome: Outcome) -> dict[str, Any]:
    failure = outcome.failure
    return {
        "name": outcome.name,
        "requirement": outcome.sentence,
        "holds": failure is None,
        "forgiven": outcome.is_forgiven,
        "failure": failure
        and {"rule": failure.rule, "what": failure.what, "request": failure.number, "story": failure.story},
        "printed": outcome.printed,
    }


def of_trace(trace: OnTrace) -> dict[str, Any]:
    figures, time = trace.figures, trace.time
    found = places(figures.growth)
    return of_outcome(trace) | {
        "requests": len(trace.requests),
        "peak_payload": figures.peak_payload,
        "peak_heap": figures.peak_heap,
        "elsewhere": figures.elsewhere,
        "utilization": figures.utilization,
        "at_peak": {
            "live": found.payload,
            "beside": found.beside,
            "holes": list(found.holes[:10]),
            "in_holes": sum(found.holes),
            "rest": found.rest,
        },
        "lessons": lessons(figures),
        "time": time and {"own": time.own, "reference": time.reference, "ratio": time.ratio},
    }
