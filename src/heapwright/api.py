"""The Python interface: a heap that you can call, draw and watch.

`from heapwright import start` imports `start` of this module. `Heap` extends `heapwright.machine.Heap` with pictures,
because the machine itself must not depend on drawing.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

from heapwright import machine
from heapwright.allocator import Allocator, load
from heapwright.machine import Process
from heapwright.machine.checkpoint import Checkpoint

if TYPE_CHECKING:
    from heapwright.collections import Runtime
    from heapwright.live.findings import Look
    from heapwright.pictures.picture import Picture
    from heapwright.programs.user import Main
    from heapwright.programs.watch import Watch
    from heapwright.stepper.view import View


def start(allocator: str | os.PathLike[str] | Allocator, **options: Any) -> Heap:
    """Start an allocator in a new simulated process and return its heap.

    `allocator` is a name (`"kr"`), a file (`"mine.py"`), a stack (`"locked(kr)"`), or a result of `load`. With
    `junk=False`, the machine does not overwrite new and freed blocks with junk. `budget` limits the loads and stores of
    one call. All other options belong to the simulated machine, such as `frames=64`, `page=16384` or
    `semantics="xv6rs"`: see `heapwright.machine.Kernel`.

    >>> heap = start("kr", frames=64)
    >>> hex(heap.alloc(24))
    '0x13fe0'
    >>> heap
    <Heap of kr: 1 live block, 24 bytes; 65,536 bytes from the kernel>
    """
    chosen = load(os.fspath(allocator)) if isinstance(allocator, str | os.PathLike) else allocator
    return Heap.start(chosen, **options)


def draw(heap: machine.Heap) -> Picture:
    """Draw any heap of the simulated machine, such as `running().heap` inside a user program.

    >>> from heapwright.collections import Box, running, serve
    >>> with serve(start("linked_list")):
    ...     box = Box(42)
    ...     print(draw(running().heap))
             ── page 0x4000
     0x4000  used          16  █              #1 Box<i32>, 4 bytes at 0x4000
     0x4010  free      49,136  ░░░░░░░░░░░░   -> null; crosses 11 page boundaries from 0x5000
    0x10000  break
    free list: anchor.next -> 0x4010 -> null
    """
    from heapwright.pictures.picture import Picture
    from heapwright.programs.scene import look_at
    from heapwright.programs.watch import Observer

    observer = Observer(runtime_of(heap))
    observer.learn()
    try:
        return Picture(look_at(observer.runtime, observer).scene())
    finally:
        observer.close()


def runtime_of(heap: machine.Heap) -> Runtime:
    """The program that the heap serves now, which knows the owners of its blocks, or an empty one."""
    from heapwright.collections import Runtime
    from heapwright.collections.runtime import RUNNING

    served = RUNNING.get()
    return served if served is not None and served.heap is heap else Runtime(heap)


class Heap(machine.Heap):
    """An allocator at work in a simulated process, where every load and store is checked. `start` makes one.

    Sizes are in bytes, alignments are powers of two, addresses are numbers. A request returns 0 when memory is
    exhausted. A wrong access, argument or result raises `Fault`. To read and write blocks as a program does, use
    `heap.user`.

    >>> heap = start("kr")
    >>> block = heap.alloc(40)
    >>> heap.user.store(block, 8, 7)        # 8 bytes
    >>> block = heap.realloc(block, 400)    # contents are kept
    >>> heap.user.load(block, 8)
    7
    >>> heap.check()                        # the allocator's invariants, and those of every heap
    >>> heap.dealloc(block)
    >>> heap.leaks()
    []
    """

    _watched: tuple[Watch, Runtime] | None = None

    def __repr__(self) -> str:
        count, size = len(self.live), sum(block.size for block in self.live.values())
        blocks = f"{count:,} live block{'' if count == 1 else 's'}, {size:,} bytes"
        return f"<Heap of {self.allocator.spec}: {blocks}; {self.memory.held():,} bytes from the kernel>"

    # --- calls, reported to the watchers

    def alloc(self, size: int, align: int = 16) -> int:
        """Allocate a block and return its address, or 0 when memory is exhausted.

        >>> hex(start("linked_list").alloc(24, align=4096))
        '0x4000'
        """
        address = super().alloc(size, align)
        return self._done("alloc", (size, align), address)

    def alloc_zeroed(self, size: int, align: int = 16) -> int:
        """Allocate a block full of zeros, as calloc does."""
        address = super().alloc_zeroed(size, align)
        return self._done("alloc_zeroed", (size, align), address)

    def dealloc(
        self, address: int, size: int | None = None, align: int | None = None, *, unchecked: bool = False
    ) -> None:
        """Free a live block. With `unchecked`, the address need not be live: the allocator has to deal with it.

        >>> heap = start("kr")
        >>> block = heap.alloc(24)
        >>> heap.dealloc(block)
        >>> heap.dealloc(block)     # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        heapwright.machine.fault.Fault: heap misuse: double free: dealloc(0x13fe0)
        ...
        """
        block = self.live.get(address)
        super().dealloc(address, size, align, unchecked=unchecked)
        self._done("dealloc", (address, block.size if block else 0, block.align if block else 16), 0)

    def realloc(
        self, address: int, new_size: int, size: int | None = None, align: int | None = None, *, unchecked: bool = False
    ) -> int:
        """Resize a live block, keep its contents, and return its new address; on failure return 0 and change nothing.

        `unchecked` is as in `dealloc`.
        """
        block = self.live.get(address)
        old = (block.size, block.align) if block else (0, 16)
        target = super().realloc(address, new_size, size, align, unchecked=unchecked)
        return self._done("realloc", (address, *old, new_size), target)

    def _done(self, name: str, arguments: tuple[int, ...], result: int) -> int:
        if self._watched is not None:
            from heapwright.collections import Operation

            watch, runtime = self._watched
            watch.done(runtime, Operation(name, arguments, result))
        return result

    def over(self, process: Process) -> Self:
        twin = super().over(process)
        twin._watched = None  # a child's calls are not its parent's
        return twin

    # --- pictures

    def draw(self) -> Picture:
        """Draw the current heap: blocks in address order, free lists as arrows.

        >>> heap = start("kr")
        >>> first, second = heap.alloc(24), heap.alloc(24)
        >>> heap.dealloc(first)
        >>> print(heap.draw())
                    ── page 0x4000
        ╭─  0x4000  free      65,440  ░░░░░░░░░░░░   -> 0x13fd0; crosses 15 page boundaries from 0x5000
        │  0x13fa0  used          48  ██             #2 24 bytes at 0x13fb0
        ╰▶ 0x13fd0  free          48  ░░             -> anchor
           0x14000  break
        free list: rover -> 0x4000 -> 0x13fd0 -> anchor -> 0x4000
        """
        return draw(self)

    def _repr_html_(self) -> str:
        return self.draw()._repr_html_()

    @contextmanager
    def watch(self) -> Iterator[list[Picture]]:
        """Draw each call made inside the `with` block: the words it read and changed, and the heap after it.

        Inside `serve(heap)`, these are the calls made by the program's values, and each picture names the value.

        >>> heap = start("kr")
        >>> block = heap.alloc(24)
        >>> with heap.watch() as steps:
        ...     heap.dealloc(block)
        >>> print(steps[-1])
        #1 dealloc(0x13fe0, 24, align 16)
          read anchor.next = 0x4000, Block.units at 0x13fd0 = 3
          rover: anchor -> 0x4000
          Block.units at 0x4000: 4,093 -> 4,096
          Block.next at 0x13fd0: anchor
                 ── page 0x4000
         0x4000  free      65,536  ░░░░░░░░░░░░░  -> anchor; crosses 15 page boundaries from 0x5000
        0x14000  break
        free list: rover -> 0x4000 -> anchor -> 0x4000
        """
        from heapwright.collections.runtime import RUNNING
        from heapwright.pictures.picture import step_picture
        from heapwright.programs.watch import Watch

        steps: list[Picture] = []
        watch = Watch(
            lambda runtime, observer, step: steps.append(step_picture(f"#{len(steps) + 1}", runtime, observer, step))
        )
        runtime, outer = runtime_of(self), self._watched
        runtime.watch(watch)
        watch.observers[runtime].learn()
        self._watched = None if RUNNING.get() is runtime else (watch, runtime)
        try:
            yield steps
        finally:
            self._watched = outer
            runtime.watchers.remove(watch)
            watch.leave(runtime)

    def checkpoint(self) -> Checkpoint:
        """Save the state of the machine. `restore()` returns to it, as often as you like.

        >>> heap = start("kr")
        >>> before = heap.checkpoint()
        >>> block = heap.alloc(24)
        >>> before.restore()
        >>> heap.leaks()
        []
        """
        return Checkpoint(self.process)


def step(program: str | Main, allocator: str | Allocator = "kr", arguments: Iterable[str] = (), **options: Any) -> View:
    """Record a program on an allocator, and return a stepper through the recording, at its beginning.

    The options are those of `run_program`.

    >>> stepper = step("boxtest", "kr")
    >>> stepper.to_call(1)
    >>> stepper.picture().scene.spans[-1].note
    '#1 Box<i32>, 4 bytes at 0x17ff0'
    """
    from heapwright.programs.run import find_program
    from heapwright.stepper.recorder import record
    from heapwright.stepper.view import View

    main = find_program(program) if isinstance(program, str) else program
    argv = list(arguments) or [program if isinstance(program, str) else main.__module__]
    return View(record(main, allocator, argv, **options))


def inspect(target: Any, **options: Any) -> Look:
    """Inspect the heap of a process (a number or a name) or of a core file; the result has numpy arrays.

    The options are those of `heapwright.live.findings.Options`: `pause`, `swapped`, `data`.
    """
    from heapwright.lab.inspect import inspect as look
    from heapwright.live.findings import Options

    return look(target, Options(**options))
