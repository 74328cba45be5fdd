/* slab's own functions: object caches, whose objects stay constructed while they are free.

   Only a library of slab has them. A layer such as `counted` does not count the objects.

   A cache constructs an object once, when it is handed out for the first time, and destructs it when its memory leaves
   the cache. In between, a program frees an object in its constructed state, and the next user gets it as it was freed.

   Rules for constructors and destructors.
   - They get the object and the size that was given to heapwright_cache_create. A constructor returns 0, or another
     number if it failed.
   - They run in the calling thread while it holds no lock of the heap. They may call malloc, free and other caches.
   - A constructor runs in heapwright_cache_alloc. A destructor runs in any call of the heap that reaps, malloc too, so
     it takes no lock that a caller of malloc may hold.
   - A destructor does not destroy its own cache, and a constructor does not allocate from it.
   - No exception and no longjmp leaves them. */

#ifndef HEAPWRIGHT_SLAB_H
#define HEAPWRIGHT_SLAB_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

struct heapwright_cache;

/* Create a cache of objects of `size` bytes at multiples of `align` and of 16. The heap copies the first 31 bytes of
   the name, which may be null, and so may both functions. Null if the heap has no room for another cache (it has room
   for 16), or if the size is 0 or above 1 GiB. */
HEAPWRIGHT_API struct heapwright_cache *heapwright_cache_create(const char *name, size_t size, size_t align,
                                                                int (*constructor)(void *object, size_t size),
                                                                void (*destructor)(void *object, size_t size));

/* A constructed object. Null if there is no memory, or if the constructor failed. errno is not set. */
HEAPWRIGHT_API void *heapwright_cache_alloc(struct heapwright_cache *cache);

/* Free an object of this cache, in its constructed state. It is not null. */
HEAPWRIGHT_API void heapwright_cache_free(struct heapwright_cache *cache, void *object);

/* Release the cache's free memory, except what other threads keep at hand; the number of bytes that the kernel got. The
   heap may keep the rest for other blocks. */
HEAPWRIGHT_API size_t heapwright_cache_reap(struct heapwright_cache *cache);

/* Destroy a cache that no other thread is using. The answer is the number of its objects that are still in use. The
   cache is destroyed only if that is 0; otherwise it remains usable. */
HEAPWRIGHT_API size_t heapwright_cache_destroy(struct heapwright_cache *cache);

#ifdef __cplusplus
}
#endif

#endif
