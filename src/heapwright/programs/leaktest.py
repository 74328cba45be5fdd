"""Leaks on purpose: a box that is forgotten, and two nodes that own each other. Its exit code is how many blocks.

A third pair of nodes has a Weak on the way back, and leaks nothing.
"""

from heapwright.collections import Box, Handle, Option, Rc, Struct, Weak, forget, i32
from heapwright.programs.user import Args, println

NODE: Struct = Struct("Node", value=i32, next=Option(Handle(Rc, lambda: NODE)), back=Option(Handle(Weak, lambda: NODE)))


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
