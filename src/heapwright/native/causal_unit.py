"""The replay on threads as one library. It does its job when it is loaded, and interposes nothing."""

from __future__ import annotations

from heapwright.native.c import process_memory
from heapwright.native.compiler import Export, Unit
from heapwright.native.jobs import causal_replayer
from heapwright.native.jobs.causal_job import Thread
from heapwright.native.jobs.causal_thread import life
from heapwright.native.portable import portable


def causal_unit() -> Unit:
    begin = Export("heapwright_job", portable(causal_replayer.replay), 0)  # the shell calls this name at load time
    return Unit((begin, Export("heapwright_causal_life", portable(face), 1)), {}, 0, frozenset(), is_heap=False)


def face(address):
    """The main function of a thread in the form that C's threads call: it takes an address."""
    return life(Thread(process_memory(), address))
