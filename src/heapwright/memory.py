"""The interface of memory, the same in every world: loads, stores, system calls, and the calling thread."""

from __future__ import annotations

import ctypes
from typing import Any, Protocol


class Memory(Protocol):
    """The services of a world to an allocator: loads and stores, the kernel, and the calling thread.

    Addresses and sizes are in bytes. A kernel call that fails returns -1 and changes nothing.
    """

    PAGE: int
    MAX_SBRK: int  # the largest argument of the kernel's sbrk: see heapwright.allocators.parts.breaks

    def load(self, address: int, size: int) -> int:
        """The number in `size` bytes: signed for 8, unsigned for 1, 2 and 4."""

    def store(self, address: int, size: int, value: int) -> None: ...

    def load_tail(self, address: int) -> int:
        """The bytes from an address to the end of its word, at their places in the word; the others are 0."""

    def store_tail(self, address: int, word: int) -> None:
        """Store those bytes of a word that lie from an address to the end of the word there."""

    def exchange(self, address: int, value: int) -> int:
        """Atomically store a word; return the old one."""

    def compare_exchange(self, address: int, expected: int, value: int) -> bool: ...

    def add(self, address: int, value: int) -> int:
        """Atomically add to a word; return the old one."""

    def fill(self, address: int, size: int, byte: int) -> None: ...

    def copy(self, target: int, source: int, size: int) -> None:
        """Copy bytes between ranges that may overlap."""

    def sbrk(self, n: int) -> int:
        """Move the break by `n` bytes; return the start of the new memory (the old break), or -1."""

    def mmap(self, size: int) -> int:
        """Map zeroed pages; return their address, or -1."""

    def munmap(self, address: int, size: int) -> int: ...

    def mremap(self, address: int, old_size: int, new_size: int, may_move: int) -> int: ...

    def decommit(self, address: int, size: int) -> int:
        """Release the frames of whole pages, which stay mapped and read as zero."""

    def protect(self, address: int, size: int, is_protected: int) -> int:
        """Let every access to whole pages fault, or none again. The heap's `slot_near` explains the faults."""

    def spare_frames(self, count: int) -> int:
        """Map pages whose frames several pages can share; return the address of the first, or -1.

        A forked child shares such frames with its parent, until it takes others with `take_frame`.
        """

    def drop_frames(self, start: int, count: int) -> None:
        """Unmap spare pages that nobody took."""

    def save_frame(self, spare: int, page: int) -> int:
        """Copy a page to a spare one, live blocks included."""

    def take_frame(self, spare: int, page: int) -> int:
        """Let a page lead to the frame of a spare page, which is unmapped; the page's own frame goes back."""

    def alias_frame(self, source: int, target: int, parts: int) -> int:
        """Let the page `target` lead to the shared frame of the page `source`; target's own frame goes back.

        First, 16 bytes of target's contents are copied to the frame for each bit that is set in the PAGE / 16 bits at
        the address `parts`. These belong to target, and all others to source. With 0 for `parts`, nothing is copied.
        Nobody may write to either page meanwhile: see `stop_others`.
        """

    def part_frame(self, page: int, is_last: int, keeps: int) -> int:
        """Give a page a frame of its own: full of zeros, or if it `keeps`, with its contents, which nobody may change
        meanwhile. `is_last` says that no other page leads to the shared frame, which then goes back."""

    def stop_others(self) -> int:
        """Stop all other threads of the process, wherever they are, until `resume_others`. Returns 0, or -1.

        The caller gets no signals meanwhile. It holds a lock, so that no other thread does the same, and it takes none:
        a stopped thread may hold it.
        """

    def resume_others(self) -> None: ...

    def is_mapped(self, address: int) -> bool:
        """Whether an address can be read. This may take a system call, so no fast path calls it."""

    def call(self, function: int, address: int, size: int) -> int:
        """Call a function of the program, by its address, with an object that is the program's during the call.

        Returns the function's result, a C int. The function may call the allocator, so hold no lock.
        """

    def local(self, slot: int) -> int:
        """One of the calling thread's twelve thread-local words; zero in a new thread."""

    def set_local(self, slot: int, value: int) -> None:
        """Store a thread-local word. A thread's first store may make the C library call calloc, so hold no lock."""

    def thread_id(self) -> int:
        """A number that no other living thread has; never zero."""

    def single_threaded(self) -> int:
        """Whether this process has never had a second thread."""

    def wait(self, address: int, value: int) -> None:
        """Sleep while the 32-bit word at `address` holds `value`, until a wake."""

    def wake(self, address: int) -> None: ...

    def relax(self) -> None:
        """Tell the processor that the thread is spinning."""

    def random(self) -> int: ...

    def clock(self) -> int:
        """Nanoseconds on a clock that never goes back. It stands still where addresses must depend on the calls alone:
        in a simulated process and in a compiled heap's own region, until somebody sets it."""

    def set_errno(self, number: int) -> None: ...

    def setting(self, option: int) -> int:
        """The initial value of an option of mallopt, or -1 if it is not set: see heapwright.options."""

    def held(self) -> int:
        """Bytes from the kernel that have not been released."""

    def peak_held(self) -> int: ...

    def growths(self) -> int:
        """The number of times that the kernel provided memory."""

    def shrinks(self) -> int:
        """The number of times that memory was released: the break lowered, a mapping cut or unmapped."""

    def decommits(self) -> int:
        """The number of times that the frames of pages were released while the pages stayed mapped."""

    def extent_start(self) -> int:
        """The start of the memory from sbrk. If the program moved the break too, its memory lies in between."""

    def piece_start(self) -> int:
        """The start of the last contiguous part of that memory, in which there is no memory of the program's own."""

    def extent_end(self) -> int: ...

    def record(self, operation: int, log2_align: int, address: int, old: int, size: int) -> None:
        """Keep a record of a call, for the `traced` layer."""

    def record_anew(self) -> None:
        """Start separate records in a forked child."""

    def note_caller(self, address: int, size: int) -> None:
        """Store who called the heap: a `heapwright.guards.Caller` of `size` bytes."""

    def call_with(self, function: int, a: int, b: int, c: int, d: int) -> int:
        """Call a C function of the program, given by its address, with four words; one with fewer ignores the rest."""

    def fault(self, what: str, address: int, size: int = 0) -> None:
        """Report a misuse of the heap, with the block's size unless it is 0; never return."""


class AddressMemory:
    """This process's own memory for structs, by address, with loads and stores only."""

    def load(self, address: int, size: int) -> int:
        return int.from_bytes(ctypes.string_at(address, size), "little", signed=size == 8)

    def store(self, address: int, size: int, value: int) -> None:
        ctypes.memmove(address, value.to_bytes(size, "little", signed=size == 8), size)


class BufferMemory:
    """A buffer as a memory for structs, from address 0 on, with loads and stores only."""

    def __init__(self, data: Any):
        self.data = data

    def load(self, address: int, size: int) -> int:
        return int.from_bytes(self.data[address : address + size], "little", signed=size == 8)

    def store(self, address: int, size: int, value: int) -> None:
        self.data[address : address + size] = value.to_bytes(size, "little", signed=size == 8)


def prefetch(address: int) -> None:
    """Have what lies at an address in the processor's cache soon. Nothing need lie there."""
