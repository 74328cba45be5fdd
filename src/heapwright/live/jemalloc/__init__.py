"""jemalloc's extents, 5.2 and 5.3: in use, dirty, muzzy or retained, and which regions of its slabs are free.

Source: J. Evans, A Scalable Concurrent malloc(3) Implementation for FreeBSD, 2006; jemalloc include/jemalloc/internal,
rtree.h, edata.h (extent_structs.h in 5.2), cache_bin.h and base.h. None of its variables has a name in a stripped
library. Its radix tree is known by its shape: the entry of an extent's first page leads to a record that names this
page.

    root in .bss          leaf: 1 GiB of pages           record of an extent, 128 bytes
    +----------+          +--------------------+         +---------------------------+
    | 2^18     |   +----> | 2^18 entries:      |    +--> | bits: slab, state, class, |
    | pointers | --+      | class, record, ... | ---+    |       free regions        |
    +----------+          +--------------------+         | address, size             |
                                                         | bitmap of free regions    |
                                                         +---------------------------+

A slab is cut into regions of one class of sizes. A region that a thread caches counts as used in the bitmap; in 5.3 the
caches are found by the pointers that each of them and its other half have to each other.
"""
