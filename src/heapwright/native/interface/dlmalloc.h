/* dlmalloc's own functions, as in malloc-2.8.6.h: spaces, many blocks in one call, limits, inspection.

   Only a library of dlmalloc has them. A failure returns null and sets errno to ENOMEM. They are safe for threads, with
   one exception: a space without a lock serves one thread at a time. */

#ifndef HEAPWRIGHT_DLMALLOC_H
#define HEAPWRIGHT_DLMALLOC_H

#include <malloc.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* mallopt(M_GRANULARITY, n) makes the heap grow by multiples of n bytes, a power of two and at least a page. The other
   options are M_TRIM_THRESHOLD and M_MMAP_THRESHOLD, for which -1 means never. All spaces have the same options. */
#ifndef M_GRANULARITY
#define M_GRANULARITY (-2)
#endif

/* --- the program's heap */

/* The bytes that the kernel gave and has not got back; their peak; and their limit, which is SIZE_MAX if there is none.
   Setting a limit returns it, rounded up to the granularity; SIZE_MAX lifts it, and then 0 is returned. */
HEAPWRIGHT_API size_t malloc_footprint(void);
HEAPWRIGHT_API size_t malloc_max_footprint(void);
HEAPWRIGHT_API size_t malloc_footprint_limit(void);
HEAPWRIGHT_API size_t malloc_set_footprint_limit(size_t bytes);

/* Resize a block where it is. Null if that is not possible, and then it stays as it is. */
HEAPWRIGHT_API void *realloc_in_place(void *block, size_t size);

/* Allocate `count` neighbours, each a block of its own: cleared ones of one size, or one for each of `sizes`. Their
   addresses go to `array`. If that is null they go to a new block, which is returned and freed like any other. */
HEAPWRIGHT_API void **independent_calloc(size_t count, size_t size, void **array);
HEAPWRIGHT_API void **independent_comalloc(size_t count, size_t *sizes, void **array);

/* Free the blocks of an array, and clear its pointers; null ones are skipped. It is quick where neighbours are next to
   each other in the array. The result is 0. */
HEAPWRIGHT_API size_t bulk_free(void **array, size_t count);

/* Call `visit` for what each chunk holds; `used` is 0 for a free one. Blocks with a mapping each are not among them.
   `visit` must not call the heap that it visits, which is locked. */
HEAPWRIGHT_API void malloc_inspect_all(void (*visit)(void *start, void *end, size_t used, void *argument), void *argument);

/* --- spaces: heaps of their own */

typedef void *mspace;

/* A space with room for `capacity` bytes at first, or the least if that is 0; with a lock, or for one thread at a time. */
HEAPWRIGHT_API mspace create_mspace(size_t capacity, int is_locked);

/* The same in memory of the caller's, which must be larger than a space's own 1024 bytes. The space grows by mappings. */
HEAPWRIGHT_API mspace create_mspace_with_base(void *base, size_t capacity, int is_locked);

/* End a space and all its blocks; the bytes that the kernel got back. Blocks with a mapping each stay, unless the space
   tracked large chunks from the start. No thread may use the space any more. */
HEAPWRIGHT_API size_t destroy_mspace(mspace space);

/* Keep large blocks in the space itself, or no longer; the old choice. */
HEAPWRIGHT_API int mspace_track_large_chunks(mspace space, int is_tracking);

HEAPWRIGHT_API void *mspace_malloc(mspace space, size_t size);
HEAPWRIGHT_API void mspace_free(mspace space, void *block);
HEAPWRIGHT_API void *mspace_calloc(mspace space, size_t count, size_t size);
HEAPWRIGHT_API void *mspace_realloc(mspace space, void *block, size_t size); /* a size of 0 keeps a block */
HEAPWRIGHT_API void *mspace_realloc_in_place(mspace space, void *block, size_t size);
HEAPWRIGHT_API void *mspace_memalign(mspace space, size_t align, size_t size);
HEAPWRIGHT_API size_t mspace_usable_size(const void *block);
HEAPWRIGHT_API void **mspace_independent_calloc(mspace space, size_t count, size_t size, void **array);
HEAPWRIGHT_API void **mspace_independent_comalloc(mspace space, size_t count, size_t *sizes, void **array);
HEAPWRIGHT_API size_t mspace_bulk_free(mspace space, void **array, size_t count);
HEAPWRIGHT_API void mspace_inspect_all(mspace space,
                                       void (*visit)(void *start, void *end, size_t used, void *argument),
                                       void *argument);
HEAPWRIGHT_API int mspace_trim(mspace space, size_t pad);
HEAPWRIGHT_API size_t mspace_footprint(mspace space);
HEAPWRIGHT_API size_t mspace_max_footprint(mspace space);
HEAPWRIGHT_API size_t mspace_footprint_limit(mspace space);
HEAPWRIGHT_API size_t mspace_set_footprint_limit(mspace space, size_t bytes);
HEAPWRIGHT_API struct mallinfo2 mspace_mallinfo(mspace space);
HEAPWRIGHT_API int mspace_mallopt(int option, int value);

#ifdef __cplusplus
}
#endif

#endif
