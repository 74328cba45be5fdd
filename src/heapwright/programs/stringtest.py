"""A String grows as text is pushed; its text is UTF-8."""

from heapwright.collections import String, Vec
from heapwright.programs.user import Args, println


def main(_: Args) -> int:
    s = String("Hello")
    assert s.capacity == 5
    s.push_str(", world!")
    println(f"String: {s}")
    assert (str(s), len(s), s.capacity) == ("Hello, world!", 13, 13)

    s.push("é")
    println(f"{s!r} has {len(s)} bytes")
    assert len(s) == 15

    words = Vec()
    for word in ("one", "two", "three"):
        words.push(String(word))
    words[0].push_str("-and-a-half")
    println(f"Strings: {words!r}")
    assert str(words[0]) == "one-and-a-half"

    println("All String tests passed!")
    return 0
