"""A child process has its own heap, which begins as a copy of its parent's."""

from heapwright.collections import Box
from heapwright.programs.user import Args, Fatal, exit, fork, println, wait


def main(_: Args) -> int:
    shared = Box(7)

    def child() -> int:
        x = Box(42)
        assert x.value == 42
        shared.value = 8
        println(f"Child: {x} and {shared}")
        exit(123)

    pid = fork(child)
    if pid == -1:
        raise Fatal("fork failed")
    ended, code = wait()
    println(f"Parent: the child ended with {code}, and the value is still {shared}")
    assert (ended, code) == (pid, 123)
    assert shared.value == 7, "the child's write does not reach the parent"
    return 0
