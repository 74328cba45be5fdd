"""The bench's workloads, one line each, and the code that runs one on a malloc in a fresh process."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from heapwright.lab.contestant import Contestant
from heapwright.lab.distributions import DISTRIBUTIONS, SizeStep
from heapwright.lab.jobs import do_job, job_file, write_names
from heapwright.lab.sample import RunError, Sample
from heapwright.native.ingredients import key_of
from heapwright.native.jobs.bench_job import BATCHES, DRAWS, GAVE_UP, Batch, Job, Slot
from heapwright.native.library import cached

KIB, MIB = 1 << 10, 1 << 20
PAIRS, ALONE, THREADS, PROCESSES = "pairs", "alone", "threads", "processes"
GROWING = ("vectors", "strings")  # bodies that call realloc
SLOTS_OF_A_BATCH = Batch.SIZE // Slot.SIZE
TIMEOUT = 30.0  # seconds of one run


@dataclass(frozen=True)
class Workload:
    """A body of `heapwright.native.jobs.workloads_*` with its parameters: rounds per thread, block sizes, slots."""

    name: str
    group: str
    body: str
    rounds: int
    minimum: int
    maximum: int = 0  # defaults to `minimum`
    blocks: int = 0
    sizes: str = ""  # a distribution, instead of `minimum` and `maximum`
    threads: int = 0  # 0: the main thread alone
    multiple_of: int = 1  # the number of threads must be a multiple of this
    is_apart: bool = False  # each thread runs in its own process

    @property
    def is_threaded(self) -> bool:
        return self.threads > 0

    @property
    def timeout(self) -> float:
        return TIMEOUT

    @property
    def title(self) -> str:
        if self.is_apart:
            return f"{self.name} in {self.threads}"
        return f"{self.name} x{self.threads}" if self.is_threaded else self.name

    @property
    def functions(self) -> tuple[str, ...]:
        """The names of the malloc functions that its body calls."""
        return ("malloc", "free", "realloc") if self.body in GROWING else ("malloc", "free")

    def with_threads(self, threads: int) -> Workload:
        return replace(self, threads=threads)

    def in_processes(self) -> Workload:
        """The same work by threads that share nothing, which shows what the machine allows."""
        return replace(self, group=PROCESSES, is_apart=True)

    def scaled(self, scale: float) -> Workload:
        """The same workload with a fraction of its rounds, at least one."""
        return replace(self, rounds=max(1, int(self.rounds * scale)))

    def parameters(self) -> dict[str, Any]:
        names = ("rounds", "minimum", "maximum", "blocks", "sizes")
        return {name: getattr(self, name) for name in names if getattr(self, name)}

    def run(self, contestant: Contestant, timeout: float, repeat: int = 0) -> Sample:
        work = run_apart if self.is_apart else run
        return work(self, contestant, timeout, repeat)


def one(name: str, group: str, body: str, rounds: int, minimum: int = 8, maximum: int = 0, **more: Any) -> Workload:
    return Workload(name, group, body, rounds, minimum, maximum or minimum, **more)


def many(name: str, body: str, rounds: int, minimum: int = 8, maximum: int = 0, **more: Any) -> Workload:
    return one(name, THREADS, body, rounds, minimum, maximum, threads=1, **more)


WORKLOADS = (
    one("pairs_16", PAIRS, "pairs", 20_000_000, 16),
    one("pairs_64", PAIRS, "pairs", 20_000_000, 64),
    one("pairs_256", PAIRS, "pairs", 20_000_000, 256),
    one("pairs_1k", PAIRS, "pairs", 20_000_000, KIB),
    one("pairs_8k", PAIRS, "pairs", 8_000_000, 8 * KIB),
    one("pairs_64k", PAIRS, "pairs", 4_000_000, 64 * KIB),
    one("lifo", ALONE, "lifo", 6_000, 16, 256, blocks=1000),
    one("fifo", ALONE, "fifo", 6_000, 16, 256, blocks=1000),
    one("random_set", ALONE, "random_set", 5_000_000, 16, 512, blocks=20_000),
    one("fleet_1", ALONE, "production", 5_000_000, sizes="fleet_1"),
    one("fleet_3", ALONE, "production", 5_000_000, sizes="fleet_3"),
    one("fleet_5", ALONE, "production", 5_000_000, sizes="fleet_5"),
    one("vectors", ALONE, "vectors", 400_000, 64, 256 * KIB, blocks=100),
    one("strings", ALONE, "strings", 5_000_000, 16, 4 * KIB, blocks=1000),
    one("large", ALONE, "random_set", 6_000, 64 * KIB, 4 * MIB, blocks=16),
    many("random_sets", "random_set", 6_000_000, 16, 512, blocks=10_000),
    many("fleet_3s", "production", 6_000_000, sizes="fleet_3"),
    many("producer_consumer", "producer_consumer", 20_000, 16, 256, blocks=BATCHES * SLOTS_OF_A_BATCH, multiple_of=2),
    many("server", "server", 400, 16, 512, blocks=1000),
    many("churn", "churn", 3_000, 16, 512, blocks=100),
    many("scratch", "scratch", 3_000_000, 8),
    many("thrash", "thrash", 3_000_000, 8),
)


def expand(workloads: tuple[Workload, ...], threads: tuple[int, ...], scale: float) -> list[Workload]:
    """The rows to run: each threaded workload once for each thread count that it supports."""
    rows = []
    for each in workloads:
        counts = [n for n in threads if n % each.multiple_of == 0] if each.is_threaded else [0]
        rows += [each.with_threads(n).scaled(scale) for n in counts]
    return rows


def apart(rows: list[Workload]) -> list[Workload]:
    """The rows with several independent threads, with a process for each thread."""
    return [row.in_processes() for row in rows if row.threads > 1 and row.multiple_of == 1]


# --- one run


def run(workload: Workload, contestant: Contestant, timeout: float, repeat: int) -> Sample:
    """Do the work once. Raises RunError if the process crashes or hangs."""
    with job_file(Job) as (path, job):
        write(job, workload, repeat)
        write_names(job.claim.functions, workload.functions)
        do_job(path, job, workloads_library(), contestant, timeout, GAVE_UP)
        return read(job)


def run_apart(workload: Workload, contestant: Contestant, timeout: float, repeat: int) -> Sample:
    """Do each thread's part in its own process, all at the same time and each on another core."""
    one_thread = workload.with_threads(1)
    with ThreadPoolExecutor(workload.threads) as pool:
        started = [pool.submit(run, one_thread, contestant, timeout, repeat + i) for i in range(workload.threads)]
        return together([each.result() for each in started])


def together(samples: list[Sample]) -> Sample:
    """The combined sample of processes that ran at the same time."""
    return Sample(
        seconds=max(each.seconds for each in samples),
        cpu_seconds=sum(each.cpu_seconds for each in samples),
        resident_bytes=sum(each.resident_bytes for each in samples),
        operations=sum(each.operations for each in samples),
        throughput=sum(each.throughput for each in samples),
    )


def write(job: Any, workload: Workload, repeat: int) -> None:
    """Fill in the job. The first thread runs on another core in each repeat, because cores differ."""
    for i, letter in enumerate(f"heapwright_bench_{workload.body}".encode()):
        job.body[i] = letter
    job.is_threaded = int(workload.is_threaded)
    job.threads = max(1, workload.threads)
    job.rounds, job.minimum, job.maximum, job.blocks = (
        workload.rounds,
        workload.minimum,
        workload.maximum,
        workload.blocks,
    )
    cores = sorted(os.sched_getaffinity(0))
    for i in range(job.threads):
        job.workers[i].core = cores[(repeat + i) % len(cores)]
    if workload.sizes:
        write_sizes(job, DISTRIBUTIONS[workload.sizes])


def write_sizes(job: Any, steps: tuple[SizeStep, ...]) -> None:
    """Fill in a distribution: the slots of each size, and the size that each draw stands for."""
    first = 0
    for i, step in enumerate(steps):
        row = job.rows[i]
        row.size, row.first, row.blocks = step.size, first, step.blocks
        first += step.blocks
    job.sizes, job.blocks = len(steps), first
    draws = [i for i, step in enumerate(steps) for _ in range(step.calls)]
    assert len(draws) == DRAWS
    for i, draw in enumerate(draws):
        job.draws[i] = draw


@cache
def workloads_library() -> Path:
    """The library of all bodies, which does a job when it is loaded. One library serves a whole bench."""
    return cached("workloads", key_of(None), ["workloads", ""])


def read(job: Any) -> Sample:
    if not job.is_done:
        raise RunError("ended before it finished its work")
    workers = [job.workers[i] for i in range(job.threads)]
    return Sample(
        seconds=(max(each.ended for each in workers) - min(each.began for each in workers)) / 1e9,
        cpu_seconds=job.cpu / 1e9,
        resident_bytes=job.resident_peak - job.resident_before,
        operations=sum(each.operations for each in workers),
        throughput=sum(each.operations / (each.ended - each.began) for each in workers) * 1e9,
    )
