"""An allocator's own C functions, compiled: the same calls as `own_functions.Program` makes in the machine."""

import ctypes
import mmap

from heapwright.native.heap import NativeHeap

START, SIZE = 1 << 45, 1 << 30  # of the region: its mappings lie at its end, as the machine's do
VISITOR = ctypes.CFUNCTYPE(None, *[ctypes.c_long] * 4)


class NativeProgram:
    def __init__(self, spec):
        self.begin(NativeHeap(spec, START, SIZE))

    @classmethod
    def over(cls, heap):
        """The same with a heap that is there."""
        program = cls.__new__(cls)
        program.begin(heap)
        return program

    def begin(self, heap):
        self.heap = heap
        self.library = ctypes.CDLL(str(self.heap.library._name))
        self.lent_pages = []
        self.room = None  # the array of the last call, which must outlive it

    def close(self):
        self.heap.close()

    def call(self, name, *arguments):
        function = getattr(self.library, name)
        function.restype, function.argtypes = ctypes.c_long, [ctypes.c_long] * len(arguments)
        return function(*arguments)

    # --- the program's heap

    def alloc(self, size, align):
        return self.heap.alloc(size, align)

    def realloc(self, block, size):
        return self.heap.realloc(block, 0, 16, size)

    def dealloc(self, block):
        self.heap.dealloc(block, 0, 16)

    def trim(self, pad):
        return self.heap.trim(pad)

    def check(self):
        """Compiled code has no `check`."""

    def corner_of(self, address):
        """The start of the heap or the end of mappings, whichever is near."""
        return START if address < START + SIZE // 2 else START + SIZE

    def mapped(self, size):
        """Pages of the program's own, anywhere."""
        pages = mmap.mmap(-1, size)
        self.lent_pages.append(pages)
        return ctypes.addressof(ctypes.c_char.from_buffer(pages))

    lent = mapped

    def lend(self, address, size):
        """All memory is open to all here."""

    # --- blocks

    def give(self, name, *arguments, size, align=16):
        return self.call(name, *arguments)

    def take(self, block, name, *arguments):
        self.call(name, *arguments)

    def resize(self, block, size, name, *arguments):
        return self.call(name, *arguments)

    def forget(self, block):
        """Nobody keeps account of live blocks here."""

    take_home = forget

    def together(self, name, *arguments, sizes):
        array = self.call(name, *arguments, 0)
        return [*(ctypes.c_long * len(sizes)).from_address(array), array]

    def take_all(self, blocks, name, *arguments):
        return self.call(name, *arguments, self.array(blocks), len(blocks))

    # --- arrays, and functions to be called

    def array(self, words):
        self.room = (ctypes.c_long * max(len(words), 1))(*words)
        return ctypes.addressof(self.room)

    def peek(self, address, size):
        return ctypes.string_at(address, size)

    def visited(self, name, *arguments):
        found = []
        visit = VISITOR(lambda *given: found.append(given))
        self.call(name, *arguments, ctypes.cast(visit, ctypes.c_void_p).value, 7)
        assert all(argument == 7 for *_, argument in found)
        return [tuple(chunk) for *chunk, _ in found]
