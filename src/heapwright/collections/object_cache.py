"""ObjectCache: objects of one struct that stay constructed while they are free, from an allocator that has caches.

    SESSION = Struct("Session", buffer=Array(u8, 64), uses=u64)
    cache = ObjectCache(SESSION(buffer=[0] * 64, uses=0))
    session = cache.alloc()
    session.uses += 1
    session.uses = 0
    cache.free(session)

Bonwick's point (The Slab Allocator, USENIX 1994): to construct an object often costs more than to find memory for it.
So an object is constructed once, when its buffer is new, and whoever frees it leaves it as it was constructed. What is
left in it otherwise, the next one finds.

The constructor is a prototype in the process image, which is copied. Copies must own nothing, so that no field may be
a container. A cache lives as long as its heap, as do the allocator's words on it. It needs the allocator's own
`cache_create`, `cache_alloc` and `cache_free`: one under layers does not offer them.
"""

from __future__ import annotations

from typing import Any

from heapwright.collections.errors import NoCaches, Panic
from heapwright.collections.runtime import Runtime, running
from heapwright.collections.types import Reference, StructValue, round_up
from heapwright.machine import Heap
from heapwright.machine.shadow import ALLOCATOR, USER, WRITTEN

LEAST_ALIGN = 16  # of an object, as in `cache_create`


class ObjectCache:
    """`constructed` is what each object is before its first use; all have its struct.

    Raises `NoCaches` if the allocator has none, `Panic` if it has no room for another, `TypeError` if objects would own
    memory.
    """

    def __init__(self, constructed: StructValue):
        self.struct = constructed.rust_type
        if self.struct.needs_drop:
            raise TypeError(f"a {self.struct.name} owns memory: constructed objects are copies, and may own nothing")
        runtime = running()
        self._functions = functions_of(runtime.heap)
        prototype = place_prototype(runtime, constructed)
        create = self._functions.cache_create
        self._cache = runtime.heap.call("cache_create", create, self.struct.size, self.struct.align, prototype)
        if not self._cache:
            raise Panic(f"the heap has no room for another cache of {self.struct.size} bytes")

    @property
    def type_name(self) -> str:
        return f"ObjectCache<{self.struct.name}>"

    def alloc(self) -> Reference:
        """An object as it was constructed, or as who freed it left it; panics without memory."""
        runtime = running()
        runtime.settle()
        size, align, cache = self.struct.size, self.struct.align, self._cache_in(runtime.heap)
        address = runtime.heap.alloc_by(lambda state: self._functions.cache_alloc(state, cache), size, align)
        runtime.own(address, size, align, self.type_name)
        return self.struct.read(runtime, address, self)

    def free(self, freed: Reference) -> None:
        """Take an object back, which its user left as it was constructed."""
        if freed._owner is not self:
            raise TypeError(f"{freed!r} is no object of this {self.type_name}")
        runtime = running()
        runtime.settle()
        address, cache = freed._address, self._cache_in(runtime.heap)
        runtime.heap.dealloc_by(lambda state: self._functions.cache_free(state, cache, address), address)
        runtime.disown(address, self.struct.size, self.struct.align)

    @property
    def constructed(self) -> int:
        """How many objects were constructed, ever."""
        return int(self._cache_in(running().heap).constructed)

    def _cache_in(self, heap: Heap) -> Any:
        """The allocator's words on this cache: at the same address in a child."""
        return type(self._cache)(heap.memory, self._cache.address)


def functions_of(heap: Heap) -> Any:
    """The module of a heap's allocator, as its author wrote it."""
    module = getattr(heap.allocator, "parts", (heap.allocator,))[0]
    if not hasattr(module, "cache_create"):
        raise NoCaches(getattr(heap.allocator, "spec", "this allocator"))
    return module


def place_prototype(runtime: Runtime, constructed: StructValue) -> int:
    """Where the allocator finds a constructed object to copy: in the process image, as large as its objects."""
    struct, process = constructed.rust_type, runtime.heap.process
    align = max(struct.align, LEAST_ALIGN)
    size = round_up(struct.size, align)
    address = process.reserve(size, align)
    shadow = process.space.shadow
    shadow.fill(address, size, USER | WRITTEN)
    struct.write(runtime, address, constructed)
    shadow.fill(address, size, ALLOCATOR | WRITTEN)
    return address
