/* Every function that gives or takes a block, for a checker that watches. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

static char *use(void *block, size_t size) { return memset(block, 1, size); }

int main(void) {
    void (*free_sized)(void *, size_t) = dlsym(RTLD_DEFAULT, "free_sized");
    void (*free_aligned_sized)(void *, size_t, size_t) = dlsym(RTLD_DEFAULT, "free_aligned_sized");
    void (*cfree)(void *) = dlsym(RTLD_DEFAULT, "cfree");
    void *block;
    if (!free_sized || !free_aligned_sized || !cfree) return 3;
    for (int round = 0; round < 20; round++) {
        free(use(realloc(use(malloc(100), 100), 5000), 5000));
        free(use(reallocarray(use(reallocarray(NULL, 10, 10), 100), 50, 100), 5000));
        free(use(calloc(10, 10), 100));
        free(use(memalign(64, 100), 100));
        free(use(aligned_alloc(64, 128), 128));
        free(use(valloc(100), 100));
        free(use(pvalloc(100), 4096));
        if (posix_memalign(&block, 256, 100)) return 4;
        if (malloc_usable_size(use(block, 100)) < 100) return 5;
        free(block);
        free_sized(use(malloc(100), 100), 100);
        free_aligned_sized(use(aligned_alloc(64, 128), 128), 64, 128);
        cfree(use(malloc(100), 100));
    }
    malloc_trim(0);
    return 42;
}
