"""The looks at a worker: before the first event, at each sample, and after the trace."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from heapwright.lab.curves.columns import AFTER
from heapwright.lab.curves.parts import IdentityError
from heapwright.lab.curves.views import View, view_for
from heapwright.lab.curves.worker import Worker
from heapwright.lab.sample import RunError
from heapwright.live.process import Process

if TYPE_CHECKING:
    from heapwright.lab.contestant import Contestant

AFTER_TRACE = len(AFTER) - 1  # samples: the trace's end is one of its own samples


@dataclass
class Watch:
    """What was seen of a process: by a view, and in resident bytes of its data at each sample."""

    process: Process
    view: View
    resident_before: int
    resident: list[int] = field(default_factory=list)  # bytes, beyond those before the first event

    def look(self, job: Any) -> None:
        self.process.look_again()
        self.resident.append(resident_data(self.process) - self.resident_before)
        self.view.look(self.process, job)


def watched(
    worker: Worker, contestant: Contestant, stack: str, job: Any, progress: Callable[[int, int], None]
) -> Watch | None:
    """Look at the process before the first event and at each sample. None if it ends early."""
    if not worker.wait():
        return None
    process = Process(worker.pid)
    try:
        watch = Watch(process, view_for(contestant, stack, process), resident_data(process))
        watch.view.begin(process, job)
        worker.go_on()
        return watch if sees_all(watch, worker, job, progress) else None
    except IdentityError as error:
        raise RunError(f"cannot be followed: {error}") from error
    finally:
        process.close()


def sees_all(watch: Watch, worker: Worker, job: Any, progress: Callable[[int, int], None]) -> bool:
    """Look at each sample. Whether none is missing."""
    count = job.samples + AFTER_TRACE
    for number in range(count):
        progress(number, count)
        if not worker.wait():
            return False
        watch.look(job)
        worker.go_on()
    return True


def resident_data(process: Process) -> int:
    """The resident bytes of a process's private data, page by page. The count that the kernel keeps is not exact."""
    return sum(mapping.resident or 0 for mapping in process.mappings if mapping.is_private_data)
