"""The test cases of xv6rs's boxtest, and some for Vec, String and `sbrk`, under a test harness.

Source: xv6rs, user/src/bin/boxtest.rs (the test cases) and user/src/lib.rs (the harness).
"""

from heapwright.collections import ArrayType, Box, String, Vec, u8
from heapwright.programs.user import SYS_EXIT, SYS_SBRK, Args, fork, syscall, test_runner, wait


def main(_: Args) -> int:
    boxes = box_integer, box_drop, box_array, box_large_allocation, box_in_process
    return test_runner(*boxes, vec_of_numbers, string_grows, break_moves)


def box_integer() -> None:
    x = Box(42)
    assert x.value == 42


def box_drop() -> None:
    for number in range(100):
        x = Box(number)
        assert x.value == number


def box_array() -> None:
    array = Box([1, 2, 3, 4, 5])
    assert array.value[0] == 1
    assert array.value[4] == 5


def box_large_allocation() -> None:
    large = Box([0] * 1024, ArrayType(u8, 1024))
    assert large.value[0] == 0
    assert large.value[1023] == 0


def box_in_process() -> None:
    def child() -> int:
        x = Box(42)
        assert x.value == 42
        syscall(SYS_EXIT, 123)
        return 0

    pid = fork(child)
    assert pid >= 0
    assert wait() == (pid, 123)


def vec_of_numbers() -> None:
    numbers = Vec.of(range(100))
    assert numbers.pop() == 99
    assert sum(numbers) == 99 * 98 // 2


def string_grows() -> None:
    greeting = String("Hello")
    greeting.push_str(", world!")
    assert str(greeting) == "Hello, world!"


def break_moves() -> None:
    before = syscall(SYS_SBRK, 0)
    assert syscall(SYS_SBRK, 4096) == before, "sbrk returns the old break"
    assert syscall(SYS_SBRK, -4096) == before + 4096
    assert syscall(SYS_SBRK, 0) == before
