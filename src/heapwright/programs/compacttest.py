"""The gain from moving blocks: every second block of a heap is freed; the heap is trimmed, compacted, trimmed again.

`compacttest N` uses N blocks: once of 16 to 1024 bytes, where larger sizes are rarer, and once of 1024 bytes. Before
the compaction, the heap shows what its allocator holds as long as live blocks do not move.
"""

from random import Random

from heapwright.collections import HandleTable, running
from heapwright.programs.user import Args, Fatal, println

SIZES = tuple(range(16, 1024 + 1, 16))


def main(args: Args) -> int:
    given = args.skip(1).next() or "300"
    if not given.isdecimal():
        raise Fatal("how many blocks?")
    count = int(given)
    compact("mixed sizes", Random(count).choices(SIZES, [1 / size for size in SIZES], k=count))
    compact("one size", [SIZES[-1]] * count)
    return 0


def compact(title: str, sizes: list[int]) -> None:
    with HandleTable() as table:
        fragment(table, sizes)
        contents = dict(table.items())
        show(f"{title}, every other block freed", table)
        result = table.compact()
        show(f"{title}, {result.blocks_moved} blocks moved in {result.passes} passes", table)
        assert dict(table.items()) == contents, "a moved block keeps its bytes and its handle"


def fragment(table: HandleTable, sizes: list[int]) -> None:
    handles = [table.insert(bytes([number % 256]) * size) for number, size in enumerate(sizes)]
    for handle in handles[::2]:
        table.remove(handle)
    running().heap.trim()


def show(when: str, table: HandleTable) -> None:
    live, held = sum(len(data) for _, data in table.items()), running().heap.memory.held()
    println(f"{when}: {live:,} bytes live in {held:,} held")
