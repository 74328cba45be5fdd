"""The bench's bodies as one library. It does its job when it is loaded, and interposes nothing."""

from __future__ import annotations

from types import FunctionType

from heapwright.native.c import process_memory
from heapwright.native.compiler import Export, Unit
from heapwright.native.jobs import workloads, workloads_alone, workloads_together
from heapwright.native.jobs.bench_job import Worker
from heapwright.native.portable import portable

ALONE = ("pairs", "lifo", "fifo", "random_set", "vectors", "strings", "production")
TOGETHER = ("producer_consumer", "server", "generation", "churn", "short_life", "scratch", "thrash")


def workloads_unit() -> Unit:
    begin = Export("heapwright_job", portable(workloads.bench), 0)  # the shell calls this name at load time
    bodies = [
        *(getattr(workloads_alone, name) for name in ALONE),
        *(getattr(workloads_together, name) for name in TOGETHER),
        workloads.thread,
    ]
    exports = [Export(f"heapwright_bench_{body.__name__}", over_worker(body), 1) for body in bodies]
    return Unit((begin, *exports), {}, 0, frozenset(), is_heap=False)


def over_worker(body: FunctionType) -> FunctionType:
    """The body in the form that C's threads call: it takes an address."""

    def face(address):
        return body(Worker(process_memory(), address))

    return portable(face)
