"""A program that asks its heap for statistics. Under the `counted` layer these include each size class."""

from typing import Any

from heapwright.collections import Box, Vec, drop, u8
from heapwright.programs.user import Args, println, stats


def main(_: Args) -> int:
    before = Box(1)
    empty = stats()
    v = Vec.zeroed(1000, u8)
    full = stats()
    show("With a Vec of 1000 bytes", full)
    assert full["heap_bytes"] >= full["live_bytes"] >= max(1000, empty["live_bytes"])

    drop(v)
    after = stats()
    show("Without it", after)
    assert after["live_bytes"] <= full["live_bytes"]
    assert before.value == 1
    return 0


def show(when: str, numbers: dict[str, Any]) -> None:
    live, heap, free = (numbers[name] for name in ("live_bytes", "heap_bytes", "free_bytes"))
    println(f"{when}: {live} bytes live, {free} free, {heap} in the heap")
    for each in numbers["classes"]:
        println(f"up to {each['size']} bytes: {each['live_blocks']} blocks live, {each['requests']} requests")
