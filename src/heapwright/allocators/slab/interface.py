"""The C functions of slab: the object caches of a program.

Caches have locks of their own, so a call does not take the lock of a layer, and a constructor may call malloc. Layers
do not count the objects.

Source: kmem_cache_create and its kin in J. Bonwick, The Slab Allocator, USENIX 1994.
"""

from __future__ import annotations

from heapwright.layers import bottom, inner

EXPORTS = (
    ("heapwright_cache_create", 5),
    ("heapwright_cache_alloc", 1),
    ("heapwright_cache_free", 2),
    ("heapwright_cache_reap", 1),
    ("heapwright_cache_destroy", 1),
)


def heapwright_cache_create(heap, name, size, align, constructor, destructor):
    return bottom.cache_create(inner.innermost(heap), name, size, align, constructor, destructor)


def heapwright_cache_alloc(heap, cache):
    return bottom.cache_alloc(inner.innermost(heap), cache)


def heapwright_cache_free(heap, cache, address):
    bottom.cache_free(inner.innermost(heap), cache, address)
    return 0


def heapwright_cache_reap(heap, cache):
    return bottom.cache_reap(inner.innermost(heap), cache)


def heapwright_cache_destroy(heap, cache):
    return bottom.cache_destroy(inner.innermost(heap), cache)
