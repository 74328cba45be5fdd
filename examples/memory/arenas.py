"""Python objects that pin the interpreter's arenas: one object in each hundred is left, and no arena can go.

CPython keeps objects of up to 512 bytes in arenas of 1 MiB, and gives an arena back only when it is empty. `gc` and
`sys.getsizeof` see a small program; the kernel sees a large one. `heapwright inspect PID` tells which objects are left.
"""

from __future__ import annotations

import sys

from answering import answer

OBJECTS, KEPT_OF = 400_000, 100


class Order:
    """What a service would keep of a request."""

    __slots__ = ("customer", "number", "state")

    def __init__(self, number: int):
        self.number, self.customer, self.state = number, number % 977, "open"


def main() -> None:
    orders = [Order(number) for number in range(OBJECTS)]
    left = orders[::KEPT_OF]
    del orders
    answer(sys.stdin, [b"%d" % order.number for order in left])


if __name__ == "__main__":
    main()
