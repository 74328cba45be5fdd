"""The job file of the worker that follows the parts of a heap over a trace.

The lab plans the samples. At each one the worker notes its figures and waits, so that the lab can look at the process
from outside. For a heap of ours the lab answers with the heap's extents, and the worker walks them with compiled code.
Both sides read the file through these structs, so nothing here needs a compiler.
"""

from __future__ import annotations

from heapwright.layout import Array, Inline, Struct, Word
from heapwright.native.jobs.claim import Claim

MAX_SAMPLES = 1024
MAX_EXTENTS = 1 << 16  # the kernel's usual limit of mappings
SIZES = 4  # of requests, for the free memory that cannot serve them
HELD_WORDS = 2
SCALE = 1_000_000  # of ratios as whole numbers
SQUARES = 16  # the unit of squared sizes: a square then fits a word up to 48 GiB

LEFT_ALONE = 76  # the exit status of a worker whose lab has gone


class Parts(Struct):
    """The bytes of a heap by what they are, as a walk over all extents finds them."""

    used: Word  # live blocks with their headers
    cached: Word
    own: Word
    free: Word
    free_pages: Word  # those of the free bytes that are whole pages
    largest_free: Word  # bytes of one free span
    squares: Word  # of the sizes of free spans, in units of SQUARES bytes
    suitable: Array[Word, SIZES]  # free bytes that could serve requests of each size
    broken: Word  # the address where a walk did not tile its extent; 0 if all do


class Extent(Struct):
    start: Word
    end: Word


class Sample(Struct):
    """The process between two events."""

    event: Word  # the number of events done
    live: Word  # requested bytes
    granted: Word  # usable bytes of the live blocks; UNREPORTED if the malloc does not report them
    parts: Inline[Parts]  # if the lab gave extents


class Job(Struct):
    claim: Inline[Claim]
    events: Word
    slots: Word
    told: Word  # the file descriptor to write to at each sample
    heard: Word  # the file descriptor to read from before it goes on
    samples: Word  # in the trace; three follow: after all blocks were freed, after the pause, and after more calls
    warms: Word  # whether a first call of malloc comes before the first look, so that its records exist
    idle: Word  # seconds of the pause
    calls: Word  # of malloc and free after the pause
    floor: Word  # no ratio is taken with fewer live bytes
    sizes: Array[Word, SIZES]
    held_words: Array[Word, HELD_WORDS]  # the addresses of words whose sum is the bytes held; 0 for none
    heap: Word  # the address of the words of a heap of ours; 0 for another malloc
    extents: Word  # of the heap, at the present sample
    live: Word
    granted: Word
    failures: Word  # requests that got null
    held: Word  # bytes, after the last event
    held_peak: Word
    held_peak_event: Word
    held_peak_live: Word  # requested bytes then
    ratios: Word  # the sum of held / live after each event, times SCALE
    ratio_events: Word
    extent: Array[Inline[Extent], MAX_EXTENTS]
    sample: Array[Inline[Sample], MAX_SAMPLES]
