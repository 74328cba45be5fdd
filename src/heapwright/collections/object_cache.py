"""ObjectCache: objects of one struct that stay constructed while they are free, for allocators with object caches.

    SESSION = Struct("Session", buffer=Handle(Vec, u8), uses=u64)
    cache = ObjectCache(SESSION, lambda: SESSION(buffer=Vec.with_capacity(512, u8), uses=0))
    session = cache.alloc()
    session.uses += 1
    session.uses = 0
    cache.free(session)
    cache.destroy()

Bonwick's point (The Slab Allocator, USENIX 1994): constructing an object often costs more than finding memory for it.
So an object is constructed once, when the allocator hands it out for the first time. Its user restores the constructed
state before freeing it; otherwise the next user finds what was left in it. The allocator destructs it when its memory
leaves the cache, and so drops what it owns.

An object that owns nothing needs no function: `ObjectCache(SESSION(...))` constructs copies of a value.

A cache lives until `destroy`, or as long as its heap. It needs the allocator's own `cache_create` and its kin, which an
allocator under layers does not offer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from heapwright.collections.errors import NoCaches, OutOfMemory, Panic
from heapwright.collections.runtime import Runtime, running
from heapwright.collections.structs import Reference, StructType, StructValue
from heapwright.machine import Heap
from heapwright.machine.memory import View
from heapwright.machine.shadow import ALLOCATOR

FAILED = 1  # the result of a constructor that found no memory


class ObjectCache:
    """A cache of objects of one struct: copies of a value, or objects that a function makes.

    `constructed` counts the objects constructed so far. Raises `NoCaches` if the allocator has no object caches,
    `Panic` if it has no room for another one, and `TypeError` if copies would own memory.
    """

    def __init__(self, struct: StructType | StructValue, make: Callable[[], StructValue] | None = None):
        self.struct, self._make = struct_and_maker(struct, make)
        self.constructed = 0
        runtime = running()
        self._functions = functions_of(runtime.heap)
        process = runtime.heap.process
        constructor = process.function(self._construct)
        destructor = process.function(self._destruct) if self.struct.needs_drop else 0
        given = name_of(runtime, self.struct), self.struct.size, self.struct.align, constructor, destructor
        self._cache: int = runtime.heap.call("cache_create", self._functions.cache_create, *given)
        if self._cache == 0:
            raise Panic(f"the heap has no room for another cache of {self.struct.size} bytes")

    @property
    def type_name(self) -> str:
        return f"ObjectCache<{self.struct.name}>"

    def alloc(self) -> Reference:
        """An object as constructed, or as its last user left it; panics if there is no memory."""
        runtime = running()
        runtime.settle()
        size, align = self.struct.size, self.struct.align
        take = self._functions.cache_alloc
        address = runtime.heap.alloc_by(lambda state: take(state, self._cache), size, align)
        runtime.own(address, size, align, self.type_name)
        return self.struct.read(runtime, address, self)

    def free(self, freed: Reference) -> None:
        """Free an object, which its user left in its constructed state."""
        if freed._owner is not self:
            raise TypeError(f"{freed!r} is not an object of this {self.type_name}")
        runtime = running()
        runtime.settle()
        address, put = freed._address, self._functions.cache_free
        runtime.heap.dealloc_by(lambda state: put(state, self._cache, address), address)
        runtime.disown(address, self.struct.size, self.struct.align)

    def reap(self) -> None:
        """Release the memory of free objects, and so what they own, as far as whole slabs are free."""
        heap = running().heap
        heap.call("cache_reap", self._functions.cache_reap, self._cache)

    def destroy(self) -> None:
        """Destroy the cache and what its free objects own; panics if objects are in use."""
        heap = running().heap
        live = heap.call("cache_destroy", self._functions.cache_destroy, self._cache)
        if live > 0:
            objects = "1 object is" if live == 1 else f"{live} objects are"
            raise Panic(f"this {self.type_name} cannot be destroyed: {objects} in use")

    def _construct(self, memory: View, address: int, size: int) -> int:
        try:
            value = self._make()
        except OutOfMemory:
            return FAILED
        self.struct.write(running(), address, value)
        self.constructed += 1
        return 0

    def _destruct(self, memory: View, address: int, size: int) -> None:
        self.struct.drop(running(), address)


def struct_and_maker(
    struct: StructType | StructValue, make: Callable[[], StructValue] | None
) -> tuple[StructType, Callable[[], StructValue]]:
    """The type of a cache's objects, and the function that makes their values."""
    if isinstance(struct, StructValue):
        if struct.rust_type.needs_drop:
            name = struct.rust_type.name
            raise TypeError(f"a {name} owns memory: pass the struct and a function that makes one")
        return struct.rust_type, lambda: struct
    if make is None:
        raise TypeError(f"pass a value of {struct.name}, or a function that makes one as a second argument")
    return struct, make


def functions_of(heap: Heap) -> Any:
    """The module of a heap's allocator, as its author wrote it."""
    if not getattr(heap.allocator, "has_caches", False):
        raise NoCaches(getattr(heap.allocator, "spec", "this allocator"))
    return heap.allocator.parts[0]


def name_of(runtime: Runtime, struct: StructType) -> int:
    """The address of the struct's name as a C string, which the allocator may read."""
    data = struct.name.encode() + b"\0"
    address = runtime.text(data)
    runtime.heap.process.space.shadow.add_bits(address, len(data), ALLOCATOR)
    return address
