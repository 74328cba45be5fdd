"""A hundred boxes, one after the other, in the memory of one. `looptest N` makes it N."""

from heapwright.collections import Box
from heapwright.programs.user import Args, Fatal, println, stats

WARM_UP = 32  # boxes, after which an allocator's cache is filled


def main(args: Args) -> int:
    rounds = args.skip(1).next() or "100"
    if not rounds.isdecimal():
        raise Fatal("how many rounds?")
    for number in range(WARM_UP):
        x = Box(number)
    heap_bytes = stats()["heap_bytes"]
    for number in range(1, int(rounds) + 1):
        x = Box(number)
        assert x.value == number
    println(f"{rounds} boxes, {stats()['heap_bytes'] - heap_bytes} bytes more")
    assert stats()["heap_bytes"] == heap_bytes
    return 0
