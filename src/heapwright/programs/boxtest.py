"""The box test of the xv6rs documentation; here it also asserts what it prints."""

from heapwright.collections import Box, drop
from heapwright.programs.user import Args, println


def main(_: Args) -> int:
    x = Box(42)
    println(f"Box value: {x}")
    assert x.value == 42

    y = Box(100)
    println(f"Another Box value: {y}")
    assert y.value == 100

    drop(x)

    z = Box("Hello, Box!")
    println(f"String Box: {z}")
    assert z.value == "Hello, Box!"

    array = Box([1, 2, 3, 4, 5])
    println(f"Array Box: {array!r}")
    assert array.value == [1, 2, 3, 4, 5]

    assert y.value == 100, "the others left this one alone"
    println("All Box tests passed!")
    return 0
