"""A histogram of whole numbers in fixed memory: counting allocates nothing.

It is log-linear, as in Gil Tene's HdrHistogram: each power of two has 16 buckets of equal width. So a bucket is at most
a sixteenth (6.25 %) as wide as its smallest number, and numbers below 32 are exact.
"""

from __future__ import annotations

from heapwright.bits import floor_log2
from heapwright.layout import Array, Struct, Word

LOG2_PARTS = 4
PARTS = 1 << LOG2_PARTS
LARGEST = (1 << 48) - 1  # larger numbers count as this one, which is a day in cycles
BUCKETS = (48 - LOG2_PARTS + 1) * PARTS


class Histogram(Struct):
    maximum: Word
    counts: Array[Word, BUCKETS]


def bucket_of(number):
    """The bucket of a number from 0 to LARGEST."""
    if number < PARTS:
        return number
    shift = floor_log2(number) - LOG2_PARTS
    return shift * PARTS + (number >> shift)


def highest_in(bucket):
    """The largest number of a bucket."""
    if bucket < PARTS:
        return bucket
    shift = (bucket >> LOG2_PARTS) - 1
    return ((bucket - shift * PARTS + 1) << shift) - 1


def count(histogram, number):
    """Count one number. A negative number counts as 0."""
    kept = max(0, min(number, LARGEST))
    histogram.counts[bucket_of(kept)] += 1
    histogram.maximum = max(histogram.maximum, kept)
