"""A hundred boxes, one after the other, in the memory of one. `looptest N` makes it N."""

from heapwright.collections import Box
from heapwright.programs.user import Args, Fatal, println, stats


def main(args: Args) -> int:
    rounds = args.skip(1).next() or "100"
    if not rounds.isdecimal():
        raise Fatal("how many rounds?")
    x = Box(0)
    heap_bytes = stats()["heap_bytes"]
    for number in range(1, int(rounds) + 1):
        x = Box(number)
        assert x.value == number
    println(f"{rounds} boxes, {stats()['heap_bytes'] - heap_bytes} bytes more")
    assert stats()["heap_bytes"] == heap_bytes
    return 0
