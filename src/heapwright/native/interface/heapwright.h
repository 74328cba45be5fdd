/* heapwright.h: call a compiled heapwright heap from C and C++.

   The library that `heapwright build` writes is the program's malloc. It also exports the functions below, which take
   the size and the alignment of a block as Rust's GlobalAlloc does. Both serve from one heap: free() accepts a block
   of heapwright_alloc, and heapwright_dealloc accepts a block of malloc.

   To compile a program that also runs under another malloc, define HEAPWRIGHT_OPTIONAL before this header is included.
   The functions are then weak: under another malloc their addresses are null.

   Rules for the caller. Whoever breaks one has undefined behaviour; many allocators report it and abort.
   - An alignment is a power of two.
   - A block goes to heapwright_dealloc or heapwright_realloc once, and never again. It is not null.
   - The size that goes with a block is the one that was last asked for, anything from there up to its usable size,
     or 0. The alignment is the one that was asked for.
   - A handler of SIGABRT may call all of them; a handler of any other signal none, as with malloc. */

#ifndef HEAPWRIGHT_H
#define HEAPWRIGHT_H

#include <stddef.h>

#ifdef HEAPWRIGHT_OPTIONAL
#define HEAPWRIGHT_API __attribute__((weak))
#else
#define HEAPWRIGHT_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* At least `size` bytes at a multiple of `align` and of 16. A size of 0 gives a block of its own, which must be freed.
   Null if there is no memory, or if the size is above PTRDIFF_MAX. errno is not set. */
HEAPWRIGHT_API void *heapwright_alloc(size_t size, size_t align);

/* The same, and the first `size` bytes are zero. Fresh pages are not cleared again. */
HEAPWRIGHT_API void *heapwright_alloc_zeroed(size_t size, size_t align);

/* Free a block. */
HEAPWRIGHT_API void heapwright_dealloc(void *block, size_t size, size_t align);

/* Make a block `new_size` bytes large; it may move. The bytes that both sizes have are kept, and so is the alignment.
   A `new_size` of 0 keeps a block too, unlike C's realloc. Null if there is no memory: the old block stays as it is. */
HEAPWRIGHT_API void *heapwright_realloc(void *block, size_t size, size_t align, size_t new_size);

/* The bytes of a block that may be used: what was asked for, or more. */
HEAPWRIGHT_API size_t heapwright_usable_size(void *block);

/* Give free pages back to the kernel, except `pad` bytes at the end of the heap; the number of bytes that it got.
   `pad` is at most 2^62. */
HEAPWRIGHT_API size_t heapwright_trim(size_t pad);

/* Refuse memory from the kernel beyond `bytes` in all, to test how a program behaves without it; 0 lifts the limit.
   The answer is 0. */
HEAPWRIGHT_API long heapwright_limit(size_t bytes);

/* --- statistics, in bytes as the allocator granted them */

struct heapwright_size_class {
    long size; /* the most bytes of a block of this class: 16, 32, 64 ... 1 GiB; the last class has no limit */
    long live_blocks, live_bytes;
    long requests; /* that a block of this class served */
};

struct heapwright_stats {
    long live_bytes;  /* without the layer `counted`: all that is not free, the heap's own records included */
    long live_blocks; /* 0 if the heap does not know */
    long peak_bytes;  /* the most live bytes at one time; 0 without `counted` */
    long heap_bytes;  /* that the kernel gave and has not got back */
    long peak_heap_bytes;
    long free_bytes, free_blocks, largest_free;
    long fast_bytes, fast_blocks;     /* of the free ones, what fast bins keep unmerged */
    long mapped_bytes, mapped_blocks; /* blocks that have a mapping each */
    long arena_bytes;                 /* what all other blocks are cut from */
    long spare_bytes;                 /* that heapwright_trim could give back */
    long allocs, deallocs, reallocs, failures; /* calls; 0 without `counted` */
    long growths, shrinks, decommits;          /* how often the kernel gave memory, and got it back */
    struct heapwright_size_class classes[28];  /* all 0 without `counted` */
};

/* Fill in the statistics. The answer is 0. */
HEAPWRIGHT_API long heapwright_stats(struct heapwright_stats *stats);

#ifdef __cplusplus
}
#endif

#endif
