"""PyTorch's memory snapshots (`torch.cuda.memory._dump_snapshot`): the requests to its caching allocator.

A snapshot is a pickle of lists, dicts, texts and numbers:

    device_traces  for each device a list of events: {action, addr, size, stream, time_us, frames}, the oldest first
    segments       for each segment {device, blocks: [{state, address, requested_size, frames}]}

    action     alloc, free_requested (the program's free), free_completed (the device has done with it), oom, and those
               of segments, which are the allocator's own and left out

Each device with events becomes a process. A history is a ring and may begin late. Blocks from before it become
allocations at its start: those that it frees, and those that the segments hold. The pickle is read without loading any
class or function. Source: pytorch 2.1 to 2.9, torch/csrc/cuda/memory_snapshot.cpp, torch/cuda/_memory_viz.py.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterator
from typing import Any, NoReturn

from heapwright.traces.calls import note
from heapwright.traces.events import Process, Trace, TraceError
from heapwright.traces.importers.log import Log
from heapwright.traces.stacks import NATIVE, PYTHON, Frame, Stacks

PROTOCOLS = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
IN_USE = "active_allocated"
SEGMENTS = "events of the allocator's segments, left out"
STREAMS = "events on a stream of their own, whose stream is not kept"
COMPLETED = "frees whose request is not in the history, taken from their completion"
LATE = "blocks from before the history, kept as allocations at its start"
ALLOCATE, REQUEST, COMPLETE, FAIL, OWN = (
    "alloc",
    "free_requested",
    "free_completed",
    "oom",
    ("segment_", "snapshot", "user"),
)


def recognizes(start: bytes) -> bool:
    """Whether data that begins like this is a pickle."""
    return start.startswith(PROTOCOLS)


class PlainUnpickler(pickle.Unpickler):
    """An unpickler that makes nothing but plain values."""

    def find_class(self, module: str, name: str) -> NoReturn:
        raise TraceError(f"the pickle wants to load {module}.{name}; a memory snapshot of PyTorch holds plain values")

    def persistent_load(self, name: Any) -> NoReturn:
        raise TraceError("the pickle refers to other files; a memory snapshot of PyTorch holds plain values")


def read(data: bytes) -> Trace:
    """The trace of a snapshot. Raises TraceError if it is none, or if it has no history."""
    try:
        snapshot = PlainUnpickler(io.BytesIO(data)).load()
    except TraceError:
        raise
    except Exception as error:  # a damaged pickle raises whatever its opcodes lead to
        raise TraceError(f"the pickle is damaged: {error}; dump the snapshot again") from error
    if not isinstance(snapshot, dict) or not isinstance(snapshot.get("device_traces"), list):
        raise TraceError("the pickle is no memory snapshot of PyTorch: it has no device_traces")
    stacks = Stacks()
    histories = [(device, trace) for device, trace in enumerate(snapshot["device_traces"]) if trace]
    if not histories:
        raise TraceError("the snapshot has no history; call torch.cuda.memory._record_memory_history() first")
    processes = [Device(device, trace, snapshot, stacks).process() for device, trace in histories]
    return Trace(processes, source="PyTorch memory snapshot", stacks=stacks)


class Device:
    """The history of one device."""

    def __init__(self, number: int, events: list[Any], snapshot: dict[str, Any], stacks: Stacks):
        self.number, self.events, self.stacks = number, events, stacks
        self.segments = snapshot.get("segments") or []
        self.log = Log()
        self.sites: dict[int, int] = {}  # by the identity of a list of frames, which many events share
        self.live: set[int] = set()
        self.place = 1  # of the event that is read

    def process(self) -> Process:
        try:
            start = int(self.events[0].get("time_us", 0))
            for address, size, site in self.earlier():
                self.log.allocate(address, size, site=site, inherited=1)
            note(self.log.notes, LATE, len(self.log))
            for event in self.numbered():
                self.add(event, int(event.get("time_us", 0)) - start)
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
            place = f"event {self.place} of device {self.number}"
            raise TraceError(f"{place} is not understood: {type(error).__name__} {error}") from error
        return self.log.process(command=f"device {self.number}")

    def numbered(self) -> Iterator[Any]:
        """The events, of which `place` counts those that were read."""
        for place, event in enumerate(self.events, 1):
            self.place = place
            yield event

    def earlier(self) -> Iterator[tuple[int, int, int]]:
        """The address, size and site of each block from before the history."""
        known: set[int] = set()  # addresses whose first event was seen
        for event in self.numbered():
            if event["action"] in (ALLOCATE, REQUEST, COMPLETE):
                address = int(event["addr"])
                if event["action"] != ALLOCATE and address not in known:
                    yield address, int(event["size"]), 0
                    self.live.add(address)
                known.add(address)
        for segment in self.segments:
            for address, block in blocks_of(segment):
                is_here = int(segment.get("device", 0)) == self.number and block["state"] == IN_USE
                if is_here and address not in known:
                    yield address, int(block.get("requested_size", block["size"])), self.site(block.get("frames"))
                    self.live.add(address)

    def add(self, event: dict[str, Any], time: int) -> None:
        action, size = event["action"], int(event.get("size", 0))
        common = {"time": time, "site": self.site(event.get("frames"))}
        address = int(event.get("addr", 0))
        if action == ALLOCATE:
            size = int(event["size"])
            self.live.add(address)
            self.log.allocate(address, size, **common)
        elif action == FAIL:
            self.log.allocate(0, size, **common)
        elif action in (REQUEST, COMPLETE):
            note(self.log.notes, COMPLETED, action == COMPLETE and address in self.live)
            if action == REQUEST or address in self.live:
                self.live.discard(address)
                self.log.free(address, **common)
        elif str(action).startswith(OWN):
            note(self.log.notes, SEGMENTS, 1)
        else:
            raise ValueError(f"its action {action!r} is not known")
        note(self.log.notes, STREAMS, action == ALLOCATE and bool(event.get("stream")))

    def site(self, frames: list[dict[str, Any]] | None) -> int:
        if not frames:
            return 0
        if id(frames) not in self.sites:
            self.sites[id(frames)] = self.stacks.add(frame_of(each) for each in frames)
        return self.sites[id(frames)]


def blocks_of(segment: dict[str, Any]) -> Iterator[tuple[int, dict[str, Any]]]:
    """The blocks of a segment with their addresses, which old snapshots leave out."""
    address = int(segment["address"])
    for block in segment["blocks"]:
        yield int(block.get("address", address)), block
        address += int(block["size"])


def frame_of(frame: dict[str, Any]) -> Frame:
    file = str(frame["filename"])
    is_python = file.endswith(".py") or file.startswith("<")
    return Frame(
        str(frame["name"]), "" if file == "??" else file, int(frame["line"]), language=PYTHON if is_python else NATIVE
    )
