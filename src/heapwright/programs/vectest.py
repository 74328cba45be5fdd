"""A Vec grows by doubling and keeps its elements."""

from heapwright.collections import Vec, i32
from heapwright.programs.user import Args, println


def main(_: Args) -> int:
    v = Vec(i32)
    assert v.capacity == 0, "an empty Vec has no block"
    for number in (1, 2, 3):
        v.push(number)
    println(f"Vec: {v!r}")
    assert v.capacity == 4

    for number in range(4, 101):
        v.push(number)
    println(f"Length {len(v)}, capacity {v.capacity}, sum {sum(v)}")
    assert (len(v), v.capacity, sum(v)) == (100, 128, 5050)

    while len(v) > 10:
        v.pop()
    v.shrink_to_fit()
    println(f"Shrunk to {v.capacity}: {v!r}")
    assert list(v) == list(range(1, 11))

    println("All Vec tests passed!")
    return 0
