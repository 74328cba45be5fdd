"""What a thousand numbers cost in each of Rust's collections: `python choose_a_collection.py [ALLOCATOR...]`.

The collections are those of heapwright.collections, which make the same requests as Rust's. A VecDeque and a BinaryHeap
make the requests of a Vec.
"""

from __future__ import annotations

import sys

from heapwright import allocator
from heapwright.collections import BTreeMap, HashMap, LinkedList, String, Vec, serve, u64
from heapwright.machine import start
from heapwright.spans import USED

COUNT = 1000
COLLECTIONS = {}


def collection(name):
    """Name a function that fills a collection and returns it."""
    return lambda fill: COLLECTIONS.setdefault(name, fill)


@collection("Vec<u64>, grown")
def vec():
    values = Vec(u64)
    for number in range(COUNT):
        values.push(number)
    return values


@collection("Vec<u64>, with_capacity")
def vec_with_capacity():
    values = Vec.with_capacity(COUNT, u64)
    for number in range(COUNT):
        values.push(number)
    return values


@collection("String, 8 bytes at a time")
def string():
    text = String("")
    for number in range(COUNT):
        text.push_str(f"{number:8}")
    return text


@collection("LinkedList<u64>")
def linked_list():
    values = LinkedList(u64)
    for number in range(COUNT):
        values.push_back(number)
    return values


@collection("BTreeMap<u64, u64>")
def btree_map():
    return filled(BTreeMap(u64, u64))


@collection("HashMap<u64, u64>")
def hash_map():
    return filled(HashMap(u64, u64))


@collection("HashMap, with_capacity")
def hash_map_with_capacity():
    return filled(HashMap.with_capacity(COUNT, u64, u64))


def filled(table):
    for number in range(COUNT):
        table.insert(number, number)
    return table


def measure(fill, name):
    """The number of requests, then bytes: requested at the peak, requested at the end, used in the heap at the end."""
    heap = start(allocator.load(name))
    with serve(heap) as runtime:
        kept = fill()
        taken = sum(size for _, size, kind in heap.spans() if kind == USED)
        figures = runtime.operations, runtime.peak_bytes, runtime.live_bytes, taken
        kept.drop()
    assert heap.leaks() == []
    return figures


def main(allocators):
    heads = "requests", "peak", "at the end", *(f"in {name}" for name in allocators)
    print(f"{'':26}" + "".join(f"{head:>16}" for head in heads))
    for title, fill in COLLECTIONS.items():
        found = [measure(fill, name) for name in allocators]
        numbers = *found[0][:3], *(taken for *_, taken in found)
        print(f"{title:26}" + "".join(f"{number:>16,}" for number in numbers))


if __name__ == "__main__":
    main(sys.argv[1:] or ["linked_list", "kr", "buddy"])
