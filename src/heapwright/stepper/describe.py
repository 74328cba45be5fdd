"""Calls, events and words in words."""

from __future__ import annotations

from heapwright.collections import Operation
from heapwright.machine.state import Thread
from heapwright.pictures.step import asked, shown
from heapwright.programs.naming import name_in
from heapwright.programs.watch import CALLS
from heapwright.stepper.events import Call, Event, Kind
from heapwright.stepper.stepper import Stepper

WORD = 8


def asked_by(call: Call, is_past: bool = True) -> str:
    """A call as text, with its result once it is over."""
    if call.name in CALLS and call.is_over and is_past:
        return asked(Operation(call.name, call.arguments, call.result))
    text = Thread.describe((call.name, call.arguments))
    return f"{text} -> {call.result:,}" if call.result is not None and is_past else text


def event_text(stepper: Stepper, event: Event) -> str:
    """An event in a line."""
    call, notes = stepper.call, stepper.recording.notes
    match event.kind:
        case Kind.LOAD:
            text = f"load   {named(stepper, event)} = {number(stepper, event, event.value)}"
        case Kind.STORE:
            old, new = number(stepper, event, event.old), number(stepper, event, event.value)
            text = f"store  {named(stepper, event)}: {old} -> {new}"
        case Kind.FILL:
            text = f"fill   {event.size:,} bytes at {event.address:#x} with {event.value:#04x}"
        case Kind.COPY:
            text = f"copy   {event.size:,} bytes at {event.address:#x} from {event.value:#x}"
        case Kind.CALL:
            text = f"call   {Thread.describe((call.name, call.arguments))}" if call else "call"
        case Kind.RETURN:
            text = f"return {call.result:#x}" if call and call.result else "return"
        case Kind.FAULT:
            text = f"fault  {notes[event.number].splitlines()[0]}"
        case Kind.KERNEL:
            text = notes[event.number]
    return text


def named(stepper: Stepper, event: Event) -> str:
    return name_of(stepper, event)[0]


def name_of(stepper: Stepper, event: Event) -> tuple[str, bool]:
    """The name of an event's word, from the access itself if it went through a field."""
    names = stepper.names
    if event.struct is None or names.is_own(event.address):
        return names.name(event.address)
    return name_in(event.struct, event.base, event.address)


def number(stepper: Stepper, event: Event, value: int) -> str:
    return shown(value, name_of(stepper, event)[1], stepper.names, stepper.recording.heap_start)


def word_text(stepper: Stepper, address: int) -> tuple[str, str]:
    """The name and the value of a word of memory as it is now."""
    names, state = stepper.names, stepper.state
    value = int.from_bytes(state.peek(address, WORD), "little", signed=True)
    if names.base(address) is not None:
        name, is_pointer = names.name(address)
        return name.partition(" at ")[0], shown(value, is_pointer, names, stepper.recording.heap_start)
    blocks = (owned.block for owned in state.live.values())
    held = next((block for block in blocks if address < block.end and block.address < address + WORD), None)
    return f"block #{held.number}" if held else "", f"{value & (1 << 64) - 1:016x}"
