"""The job file's head, written and read from outside: `heapwright.native.replayer` says what its numbers mean."""

from __future__ import annotations

import struct
from dataclasses import dataclass

NAMES = (
    "events",
    "slots",
    "rounds",
    "budget",
    "sample",
    "failures",
    "resident_before",
    "resident_peak",
    "heap_before",
    "heap_peak",
    "done",
)
MOST_ROUNDS = 64
HEAD = struct.Struct(f"<{len(NAMES) + MOST_ROUNDS}q")
JOB_BYTES = HEAD.size


@dataclass(frozen=True)
class JobResult:
    """What one replay measured: bytes, and seconds of each round."""

    failures: int
    resident_bytes: int  # how much the most resident memory grew
    heap_bytes: int  # the most that the heap held from the kernel; 0 if its allocator does not tell
    done: int
    seconds: tuple[float, ...]


def job_bytes(events: int, slots: int, rounds: int, budget: float, sample: int) -> bytes:
    if not 1 <= rounds <= MOST_ROUNDS:
        raise ValueError(f"a job has 1 to {MOST_ROUNDS} rounds, not {rounds}")
    return HEAD.pack(events, slots, rounds, int(budget * 1e9), sample, *[0] * (HEAD.size // 8 - 5))


def read_job(head: bytes) -> JobResult:
    numbers = HEAD.unpack(head)
    named = dict(zip(NAMES, numbers, strict=False))
    done = named["done"]
    return JobResult(
        failures=named["failures"],
        resident_bytes=named["resident_peak"] - named["resident_before"],
        heap_bytes=named["heap_peak"] - named["heap_before"],
        done=done,
        seconds=tuple(each / 1e9 for each in numbers[len(NAMES) :][:done]),
    )
