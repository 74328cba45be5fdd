"""Bursts that take turns: each worker thread makes a large answer and keeps one object in thirty of it.

Only one burst is live at a time, but glibc gives each thread an arena of its own, and the objects that are kept pin
the arena's pages. So as much memory stays resident as if all bursts were live at once. The program then waits a second,
as a server between requests, and ends. Which malloc or setting helps?

    heapwright advise --goal memory -- python3 examples/memory/bursts.py
"""

from __future__ import annotations

import random
import threading
import time

WORKERS, OBJECTS, KEPT_OF, IDLE = 6, 12_000, 30, 1.0


def burst(seed: int, kept: list[bytes], turn: threading.Lock, idle: threading.Barrier) -> None:
    """Make objects of 600 to 5000 bytes when it is our turn, keep a few, and wait: the arena stays this thread's."""
    sizes = random.Random(seed)
    with turn:
        made = [bytes(sizes.randrange(600, 5000)) for _ in range(OBJECTS)]
        kept.extend(made[::KEPT_OF])
        del made
    idle.wait()
    idle.wait()


def main() -> None:
    kept: list[bytes] = []
    turn, idle = threading.Lock(), threading.Barrier(WORKERS + 1)
    workers = [threading.Thread(target=burst, args=(seed, kept, turn, idle)) for seed in range(WORKERS)]
    for worker in workers:
        worker.start()
    idle.wait()
    time.sleep(IDLE)
    idle.wait()
    for worker in workers:
        worker.join()
    print(f"{len(kept):,} objects kept, {sum(map(len, kept)):,} bytes")


if __name__ == "__main__":
    main()
