"""Calls into an allocator: each call has a budget, and each error in it becomes a fault.

Any Python exception inside an allocator becomes a `Fault` at the allocator's own line. The machine's own exceptions and
the end of a thread pass through.
"""

from __future__ import annotations

import re
from bdb import BdbQuit
from collections.abc import Callable, Iterator
from reprlib import repr
from types import ModuleType
from typing import Any, NoReturn

from heapwright.errors import suggestion
from heapwright.layout import Struct, StructMeta
from heapwright.machine.checked import MAX_WORD, MIN_WORD, UNLIMITED
from heapwright.machine.fault import NOWHERE, BrokenInvariant, Fault, Kind
from heapwright.machine.frames import Stop
from heapwright.machine.process import Process
from heapwright.machine.source import ENTRANCES, Place, line_of_error, line_of_function
from heapwright.machine.watchdog import AT_WORK, WATCHDOG
from heapwright.spans import KINDS

Call = tuple[str, tuple[Any, ...]]  # a name and arguments
Span = tuple[int, int, int]  # start, size, kind


class Interrupted(KeyboardInterrupt):
    """The user interrupted an allocator; the text says at which line."""


class Calls:
    """A process and the allocator's functions that it calls; `budget` bounds the accesses of one call."""

    def __init__(self, process: Process, functions: Any, budget: int):
        self.process, self._functions, self.budget = process, functions, budget
        self.state: Any = None
        self._latest: Call = "", ()  # the call that ended last
        WATCHDOG.start()

    # --- calling

    def _call(self, name: str, *arguments: int) -> Any:
        """Call one of the functions that every allocator has."""
        return self.call(name, getattr(self._functions, name), *arguments)

    def _number(self, name: str, *arguments: int, what: str = "an address") -> int:
        """Call such a function and return its number; False is 0."""
        result = self._call(name, *arguments)
        if result is not False and result.__class__ is not int:
            self._bad_result(f"returned {repr(result)}, which is not {what}", NOWHERE)
        if not MIN_WORD <= result <= MAX_WORD:
            self._bad_result(f"returned {result}, which needs more than 64 bits", NOWHERE)
        return int(result)

    def _whole(self, name: str, function: Callable[..., Any], start: int, end: int) -> Any:
        """Call a function that inspects a whole extent; its budget allows for one or two accesses per word."""
        return self.call(name, function, start, end, more=(end - start) // 4)

    def _walk(self, start: int, end: int) -> list[Span]:
        return list(self._whole("walk", lambda *given: list(self._spans(*given)), start, end))

    def _spans(self, state: Any, start: int, end: int) -> Iterator[Span]:
        """The spans that `walk` yields while addresses rise: a walk that turns back may never end."""
        at = start - 1
        for span in self._functions.walk(state, start, end):
            if not is_span(span):
                what = f"U5 walk yields (start, size, kind), as heapwright.spans says: not {repr(span)}"
                raise BrokenInvariant(Kind.INVARIANT, what, self.process, NOWHERE, place=self._defined("walk"))
            yield span
            if not at < span[0] < end:
                return
            at = span[0]

    def call(self, name: str, function: Callable[..., Any], *arguments: Any, more: int = 0) -> Any:
        """Call a function with the heap's words, so that a fault can name the call.

        `more` is how many accesses it may take beyond the usual budget.
        """
        thread, memory = self.process.thread, self.process.memory
        for visitor in self.process.visitors:
            visitor.entered(name, arguments)
        outer, thread.call, memory.left = thread.call, (name, arguments), self.budget + more
        AT_WORK.process = self.process.weak
        try:
            result = function(self.state, *arguments)
        except Fault as fault:
            fault.place = fault.place or self._defined(name)
            raise
        except (Stop, BdbQuit):
            raise
        except KeyboardInterrupt as error:
            raise Interrupted(self._interrupted(error)) from None
        except (Exception, SystemExit) as error:
            if name == "check" and isinstance(error, AssertionError):
                raise
            raise self._told(name, error) from error
        finally:
            self._latest = name, arguments
            thread.call, memory.left = outer, UNLIMITED
        for visitor in self.process.visitors:
            visitor.left(name, result)
        return result

    # --- errors

    def _bad_result(self, what: str, address: int) -> NoReturn:
        """Report that the call that ended last returned a wrong result."""
        call, place = self.process.thread.describe(self._latest), self._defined(self._latest[0])
        raise Fault(Kind.RESULT, what, self.process, address, who="allocator", call=call, place=place)

    def _told(self, name: str, error: BaseException) -> Fault:
        """A fault of the allocator, made of a Python exception that it raised."""
        kind, what = Kind.ERROR, said(error)
        if isinstance(error, RecursionError):
            kind, what = Kind.BUDGET, f"{name} calls itself endlessly"
        place = line_of_error(error) or self._defined(name)
        return Fault(kind, what, self.process, NOWHERE, who="allocator", place=place)

    def _interrupted(self, error: KeyboardInterrupt) -> str:
        place, call = line_of_error(error), self.process.thread.describe_call()
        return f"at {place} in {place.function}: {place.text}, during {call}" if place else f"during {call}"

    def _defined(self, name: str) -> Place | None:
        """Where a function begins; for a function that heapwright adds, where the allocator's `alloc` begins."""
        place = line_of_function(getattr(self._functions, name, None))
        return place or line_of_function(getattr(self._functions, "alloc", None))


ENTRANCES.add(Calls.call.__code__)


def is_span(span: object) -> bool:
    if not isinstance(span, tuple) or len(span) != 3 or any(each.__class__ is not int for each in span):
        return False
    kind: int = span[2]
    return 0 <= kind < len(KINDS)


# --- texts of Python errors

MISSING = re.compile(r"'(\w+)' object has no attribute '(\w+)'")


def said(error: BaseException) -> str:
    """A Python error in one line; an error about a field, in the dialect's words."""
    text = " ".join(str(error).split())
    missing = MISSING.fullmatch(text)
    if missing and isinstance(error, AttributeError) and (struct := struct_named(missing[1], error)):
        known = f"it has {', '.join(struct.fields) or 'none'}; all state lies in declared fields (D4)"
        return f"{missing[1]} has no field '{missing[2]}': {suggestion(missing[2], struct.fields, known)}"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def struct_named(name: str, error: AttributeError) -> StructMeta | None:
    """The struct that an error is about, or else one of its name in the modules of the traceback, innermost first."""
    found = type(error.obj) if isinstance(error.obj, Struct) else None
    trace = None if found else error.__traceback__
    while trace is not None:
        names = trace.tb_frame.f_globals
        places = [names, *(vars(each) for each in names.values() if isinstance(each, ModuleType))]
        found = next((each[name] for each in places if isinstance(each.get(name), StructMeta)), found)
        trace = trace.tb_next
    return found
