"""Python with threads: free memory between live blocks, in several arenas of the C library's malloc.

Each thread makes thousands of objects and keeps a few of them, spread over all its memory. What malloc holds is then
mostly free, and little of it goes back by itself. Look at it from another terminal:

    python3 examples/memory/threads.py
    heapwright inspect PID

A line `trim` on standard input calls malloc_trim(0) and prints by how many bytes the resident set shrank.
"""

from __future__ import annotations

import random
import sys
import threading

from answering import answer

THREADS, OBJECTS, KEPT_OF = 4, 20_000, 12


def work(kept: list[bytes], ready: threading.Barrier, finish: threading.Event) -> None:
    """Make objects of 600 to 5000 bytes and keep each twelfth; the thread then sleeps, and its arena stays its own."""
    made = [bytes(random.randrange(600, 5000)) for _ in range(OBJECTS)]
    kept.extend(made[::KEPT_OF])
    del made
    ready.wait()
    finish.wait()


def main() -> None:
    random.seed(1)
    kept: list[bytes] = []
    ready, finish = threading.Barrier(THREADS + 1), threading.Event()
    for _ in range(THREADS):
        threading.Thread(target=work, args=(kept, ready, finish), daemon=True).start()
    ready.wait()
    holes = [bytes(random.randrange(600, 3000)) for _ in range(40_000)]
    kept.extend(holes[::9])
    del holes
    answer(sys.stdin, kept)


if __name__ == "__main__":
    main()
