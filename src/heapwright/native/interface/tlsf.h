/* TLSF's own functions, as in tlsf.h of version 3.1: pools that the program lends.

   Only a library of tlsf has them. A `tlsf_t` is an allocator in the program's memory, which has no other memory than
   its pools and serves one thread at a time. Null stands for the heap of malloc, which has pools too if they are lent;
   calls on it are safe for threads. A block is a multiple of 16, a request of 0 bytes gets one, too, and a failure
   returns null and sets errno to ENOMEM. */

#ifndef HEAPWRIGHT_TLSF_H
#define HEAPWRIGHT_TLSF_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef void *tlsf_t;
typedef void *pool_t;

/* --- allocators */

/* An allocator in `tlsf_size()` bytes at `memory`, a multiple of 16; with the memory behind it as its first pool. Null
   if that is too small. Whoever frees the memory calls tlsf_destroy first. */
HEAPWRIGHT_API tlsf_t tlsf_create(void *memory);
HEAPWRIGHT_API tlsf_t tlsf_create_with_pool(void *memory, size_t size);
HEAPWRIGHT_API void tlsf_destroy(tlsf_t tlsf);

/* --- pools */

/* Lend `size` bytes at `memory`, a multiple of 16; the pool, or null if they are too few. */
HEAPWRIGHT_API pool_t tlsf_add_pool(tlsf_t tlsf, void *memory, size_t size);

/* Take a pool back: 1, or 0 and nothing changes while a block of it is live. */
HEAPWRIGHT_API int tlsf_remove_pool(tlsf_t tlsf, pool_t pool);

/* The pool that was lent last, and the one that was lent before another; null at the end. */
HEAPWRIGHT_API pool_t tlsf_get_pool(tlsf_t tlsf);
HEAPWRIGHT_API pool_t tlsf_next_pool(pool_t pool);

/* --- blocks */

HEAPWRIGHT_API void *tlsf_malloc(tlsf_t tlsf, size_t size);
HEAPWRIGHT_API void *tlsf_memalign(tlsf_t tlsf, size_t align, size_t size);
HEAPWRIGHT_API void *tlsf_realloc(tlsf_t tlsf, void *block, size_t size); /* a size of 0 frees the block */
HEAPWRIGHT_API void tlsf_free(tlsf_t tlsf, void *block);
HEAPWRIGHT_API size_t tlsf_block_size(void *block); /* its usable bytes */

/* --- sizes: of an allocator, of alignment, the least and the most bytes of a block, and what pools and blocks cost */

HEAPWRIGHT_API size_t tlsf_size(void);
HEAPWRIGHT_API size_t tlsf_align_size(void);
HEAPWRIGHT_API size_t tlsf_block_size_min(void);
HEAPWRIGHT_API size_t tlsf_block_size_max(void);
HEAPWRIGHT_API size_t tlsf_pool_overhead(void);
HEAPWRIGHT_API size_t tlsf_alloc_overhead(void);

/* --- inspection */

/* Call `walker` for each block of a pool. It must not change the pool. */
typedef void (*tlsf_walker)(void *block, size_t size, int is_used, void *argument);
HEAPWRIGHT_API void tlsf_walk_pool(pool_t pool, tlsf_walker walker, void *argument);

/* The number of faults in an allocator's lists, and in the blocks of a pool; 0 if all is well. */
HEAPWRIGHT_API int tlsf_check(tlsf_t tlsf);
HEAPWRIGHT_API int tlsf_check_pool(pool_t pool);

#ifdef __cplusplus
}
#endif

#endif
