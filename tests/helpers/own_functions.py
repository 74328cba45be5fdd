"""An allocator's own C functions in the machine: the calls of a program, with its blocks known to the heap."""

from heapwright import allocator
from heapwright.machine import start

PAGE = 4096
ROOM = 8192  # bytes of the program's data for arrays


class Program:
    """A program that calls the C functions of an allocator's interface."""

    def __init__(self, spec="dlmalloc", **options):
        self.allocator = allocator.load(spec)
        self.interface = self.allocator.interface
        self.heap = start(self.allocator, more_data=ROOM + 16, **options)
        self.room = self.heap.process.reserve(ROOM)

    def call(self, name, *arguments):
        """The number that a function returns; for one that neither gives nor takes a block."""
        return self.heap.call(name, getattr(self.interface, name), *arguments)

    # --- the program's heap

    def alloc(self, size, align):
        return self.heap.alloc(size, align)

    def realloc(self, block, size):
        return self.heap.realloc(block, size)

    def dealloc(self, block):
        self.heap.dealloc(block)

    def trim(self, pad):
        return self.heap.trim(pad)

    def check(self):
        self.heap.check()

    def corner_of(self, address):
        """The start of the heap or the end of mappings, whichever is near."""
        process = self.heap.process
        return process.heap_start if address < process.brk else process.space.mappings.top

    def lent(self, size):
        """Memory of the program's own that the allocator may use."""
        base = self.mapped(size)
        self.lend(base, size)
        return base

    def mapped(self, size):
        return self.heap.user.mmap(size)

    def lend(self, address, size):
        self.heap.lend(address, size)

    def take_home(self, address):
        """The memory around an address is the program's again, if it was lent."""
        for low, high in list(self.heap.lent):
            if low <= address < high:
                self.heap.take_home(low, high - low)

    # --- blocks

    def give(self, name, *arguments, size, align=16):
        """The address of the block that a function returns."""
        return self.heap.alloc_by(self.bound(name, arguments), size, align)

    def bound(self, name, arguments):
        return lambda state: getattr(self.interface, name)(state, *arguments)

    def take(self, block, name, *arguments):
        """Hand a block to a function that frees it."""
        self.heap.dealloc_by(self.bound(name, arguments), block)

    def resize(self, block, size, name, *arguments):
        """The block that a function made of another one."""
        heap, old = self.heap, self.heap.live[block]
        heap.dealloc_by(lambda state: 0, block)
        moved = self.call(name, *arguments)
        target, kept = (moved, size) if moved else (block, old.size)
        self.adopt(target, kept, old.align)
        return moved

    def forget(self, block):
        """A block is about to end with its space."""
        self.heap.dealloc_by(lambda state: 0, block)

    def adopt(self, block, size, align=16):
        """Take over a block from a function that returned several."""
        return self.heap.alloc_by(lambda state: block, size, align)

    def together(self, name, *arguments, sizes):
        """The blocks of an independent allocation, the array of their addresses last."""
        array = self.call(name, *arguments, 0)
        if array == 0:
            return []
        blocks = [self.adopt(block, size) for block, size in zip(self.words(array, len(sizes)), sizes, strict=True)]
        return [*blocks, self.adopt(array, 8 * len(sizes))]

    def take_all(self, blocks, name, *arguments):
        """Hand several blocks to a function that frees them; its result."""
        for block in blocks:
            self.heap.dealloc_by(lambda state: 0, block)
        return self.call(name, *arguments, self.array(blocks), len(blocks))

    # --- arrays, and functions to be called

    def array(self, words):
        """The address of an array of words in the program's data."""
        self.heap.process.poke(self.room, b"".join(word.to_bytes(8, "little", signed=True) for word in words))
        return self.room

    def words(self, address, count):
        data = self.peek(address, 8 * count)
        return [int.from_bytes(data[at : at + 8], "little") for at in range(0, len(data), 8)]

    def peek(self, address, size):
        return self.heap.process.peek(address, size)

    def visited(self, name, *arguments):
        """The (start, end, bytes in use) that a function reports of each chunk, in its order."""
        found = []
        visit = self.heap.process.function(lambda *given: found.append(given[-4:]))
        self.call(name, *arguments, visit, 7)
        assert all(argument == 7 for *_, argument in found)
        return [tuple(chunk) for *chunk, _ in found]
