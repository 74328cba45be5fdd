"""Whole numbers counted in a fixed place: nothing is allocated while they come.

Log-linear, as in Gil Tene's HdrHistogram: each power of two has 16 buckets of one width, so that none is wider than a
sixteenth (6.25 %) of the least number in it, and numbers below 32 are exact.
"""

from __future__ import annotations

from heapwright.bits import floor_log2
from heapwright.layout import Array, Struct, Word

LOG2_PARTS = 4
PARTS = 1 << LOG2_PARTS
LARGEST = (1 << 48) - 1  # larger numbers count as this one: as cycles it is a day
BUCKETS = (48 - LOG2_PARTS + 1) * PARTS


class Histogram(Struct):
    most: Word
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
    """Count one more number; one below 0 counts as 0."""
    kept = max(0, min(number, LARGEST))
    histogram.counts[bucket_of(kept)] += 1
    histogram.most = max(histogram.most, kept)
