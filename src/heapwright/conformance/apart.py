"""Trials of an allocator's compiled code in a child process, because it may crash or never return."""

from __future__ import annotations

import json
import mmap
import os
import signal
from collections.abc import Callable

from heapwright.conformance.story import Broken, told

CALL_SECONDS = 10.0  # of processor time: a call that takes longer counts as endless
LINE = 4096  # bytes for the line of the story that is running


class Apart:
    """A shared note of the call that the child is making, for the report if that call kills it."""

    def __init__(self) -> None:
        self._line = mmap.mmap(-1, LINE)

    def call(self, line: str, function: Callable[[], int]) -> int:
        """Make one call of compiled code, with a time limit."""
        data = line.encode()[: LINE - 1]
        self._line[: len(data) + 1] = data + b"\0"
        signal.setitimer(signal.ITIMER_VIRTUAL, CALL_SECONDS)
        try:
            return function()
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)

    def latest(self) -> str:
        return self._line[:].partition(b"\0")[0].decode(errors="replace")


def run_apart(work: Callable[[Apart], str]) -> str:
    """Run `work` in a child process; return or raise its result. Its death is `Broken`, and names the fatal call."""
    apart = Apart()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        answer_and_exit(work, apart, writer)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        answer = pipe.read()
    _, status = os.waitpid(child, 0)
    if not answer:
        raise Broken(death(status), [apart.latest()])
    said = json.loads(answer)
    if "note" in said:
        return str(said["note"])
    raise Broken(**said)


def answer_and_exit(work: Callable[[Apart], str], apart: Apart, writer: int) -> None:
    signal.signal(signal.SIGVTALRM, signal.SIG_DFL)
    status = 1
    try:
        with os.fdopen(writer, "w") as pipe:
            json.dump(answer_of(work, apart), pipe)
        status = 0
    finally:
        os._exit(status)


def answer_of(work: Callable[[Apart], str], apart: Apart) -> dict[str, object]:
    try:
        return {"note": work(apart)}
    except Exception as error:  # noqa: BLE001  the parent raises it
        broken = error if isinstance(error, Broken) else told(error)
        return {"what": broken.what, "lines": broken.lines, "picture": broken.picture, "cause": broken.cause,
                "machine": broken.machine}  # fmt: skip


def death(status: int) -> str:
    if not os.WIFSIGNALED(status):
        return f"compiled, it ends the process with status {os.waitstatus_to_exitcode(status)}"
    if os.WTERMSIG(status) == signal.SIGVTALRM:
        return f"compiled, a call does not return within {CALL_SECONDS:g} s"
    return f"compiled, a call ends in {signal.Signals(os.WTERMSIG(status)).name}"
