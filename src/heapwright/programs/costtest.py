"""The cost of a choice of collection: the requests for the same number of values in each.

`costtest N` puts N values of eight bytes, N characters, or N pairs of two values in random order into each. Bytes are
requested bytes. `moved` counts the bytes that realloc moved to another address, which depends on the allocator. A
HashMap moves its pairs to another table itself, and a BTreeMap to another node.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random

from heapwright.collections import BTreeMap, HashMap, Operation, Runtime, String, Vec, VecDeque, running, u64
from heapwright.collections.owned import Owned
from heapwright.programs.user import Args, Fatal, println


class Bill:
    """A watcher that adds up the requests while it watches."""

    def __init__(self) -> None:
        self.requests = self.live = self.maximum = self.moved = 0

    def enter(self, runtime: Runtime) -> None:
        """Start from zero."""

    def done(self, runtime: Runtime, operation: Operation) -> None:
        given = operation.arguments
        match operation.name:
            case "dealloc":
                self.live -= given[1]
                return
            case "realloc":
                address, old, _, new = given
                self.live += new - old
                self.moved += min(old, new) if operation.result != address else 0
            case _:
                self.live += given[0]
        self.requests += 1
        self.maximum = max(self.maximum, self.live)


def main(args: Args) -> int:
    given = args.skip(1).next() or "500"
    if not given.isdecimal():
        raise Fatal("how many values?")
    count = int(given)
    println(f"{f'{count} values':<12}{'requests':>10}{'at maximum':>10}{'at last':>10}{'moved':>10}")
    for name, fill in FILLS.items():
        with billed() as bill, fill(count):
            at_last = bill.live
        assert bill.live == 0, "a collection frees all that it allocated"
        println(f"{name:<12}{bill.requests:>10,}{bill.maximum:>10,}{at_last:>10,}{bill.moved:>10,}")
    return 0


@contextmanager
def billed() -> Iterator[Bill]:
    bill, watchers = Bill(), running().watchers
    watchers.append(bill)
    yield bill
    watchers.remove(bill)


def fill_vec(count: int) -> Vec:
    values = Vec(u64)
    for number in range(count):
        values.push(number)
    return values


def fill_vec_deque(count: int) -> VecDeque:
    values = VecDeque(u64)
    for number in range(count):
        values.push_back(number)
    return values


def fill_string(count: int) -> String:
    string = String()
    for _ in range(count):
        string.push("x")
    return string


def fill_map(table: HashMap | BTreeMap, count: int) -> Owned:
    for key in Random(count).sample(range(count), count):
        table.insert(key, count)
    return table


FILLS: dict[str, Callable[[int], Owned]] = {
    "Vec": fill_vec,
    "VecDeque": fill_vec_deque,
    "String": fill_string,
    "HashMap": lambda count: fill_map(HashMap(u64, u64), count),
    "BTreeMap": lambda count: fill_map(BTreeMap(u64, u64), count),
}
