"""Leaks on purpose: a forgotten box, and two nodes that own each other. The exit code is the number of leaked blocks.

Another pair of nodes uses a Weak for the way back and leaks nothing.
"""

from heapwright.collections import Box, Handle, Option, Rc, StructType, Weak, forget, i32
from heapwright.programs.user import Args, println

NODE: StructType = StructType(
    "Node", value=i32, next=Option(Handle(Rc, lambda: NODE)), back=Option(Handle(Weak, lambda: NODE))
)


def main(_: Args) -> int:
    forget(Box(42))
    own_each_other()
    know_each_other()
    println("Leaked a box and a circle of two nodes.")
    return 3


def own_each_other() -> None:
    first = Rc(NODE(value=1, next=None, back=None))
    second = Rc(NODE(value=2, next=first.clone(), back=None))
    first.value.next = second.clone()


def know_each_other() -> None:
    first = Rc(NODE(value=1, next=None, back=None))
    second = Rc(NODE(value=2, next=None, back=first.downgrade()))
    first.value.next = second
