/* realloc and reallocarray: content, failure, and the two special arguments. */
#include "check.h"

#include <errno.h>
#include <string.h>

enum { RESIZES = 400, LARGEST = 300 * KIB, ZEROINGS = 100000, ZEROED_SIZE = 400 };

/* C17 7.22.3.5: like malloc.  With size 0 too: glibc manual, "Changing the
 * Size of a Block". */
static void realloc_of_null_is_malloc(void) {
    char *block = opaque(realloc(opaque(NULL), 100));
    void *empty = opaque(realloc(opaque(NULL), 0));
    require(block, "realloc(NULL, 100) returned NULL");
    require(empty, "realloc(NULL, 0) returned NULL");
    memset(block, 1, 100);
    free(block);
    free(empty);
}

/* C23 7.24.3.7 makes the size 0 undefined, C17 implementation-defined; so this
 * only reports which of the two customs is followed. */
static void realloc_to_zero(void) {
    void *block = must_malloc(100);
    void *result = opaque(realloc(block, 0));
    remark("realloc(p, 0) %s", result ? "returns a block" : "frees p and returns NULL");
    free(result);
}

/* Both customs give the memory back: freed at once, or through the result. */
static void realloc_to_zero_leaks_nothing(void) {
    size_t before = resident_bytes();
    for (unsigned i = 0; i < ZEROINGS; i++) {
        char *block = must_malloc(ZEROED_SIZE);
        memset(block, 1, ZEROED_SIZE);
        free(opaque(realloc(block, 0)));
    }
    size_t growth = growth_since(before);
    require(growth < 16 * MIB, "%d times realloc(p, 0) left %zu bytes resident", ZEROINGS, growth);
}

/* C17 7.22.3.5: unchanged up to the lesser of the two sizes. */
static void realloc_keeps_the_prefix(void) {
    uint64_t random = 2024;
    size_t size = 1;
    char *block = must_malloc(size);
    fill(block, size, 0);
    for (unsigned i = 1; i <= RESIZES; i++) {
        size_t wanted = next_random(&random) % (i % 4 ? 2 * KIB : LARGEST) + 1;
        size_t kept = wanted < size ? wanted : size;
        block = opaque(realloc(block, wanted));
        require(block, "realloc to %zu bytes returned NULL", wanted);
        require(intact(block, kept, i - 1), "realloc from %zu to %zu lost content", size, wanted);
        fill(block, size = wanted, i);
    }
    free(block);
}

static void require_kept_on_failure(size_t size) {
    char *volatile block = must_malloc(size); /* or compilers take it for freed */
    fill(block, size, 5);
    require_refused(realloc(block, SIZE_MAX));
    require_refused(realloc(block, SIZE_MAX - 4096));
    require_refused(realloc(block, (size_t)PTRDIFF_MAX + 1));
    require(intact(block, size, 5), "a refused realloc changed a block of %zu bytes", size);
    free(block);
}

/* C17 7.22.3.5: if memory cannot be allocated, the old object is not
 * deallocated and its value is unchanged.  POSIX.1-2024: [ENOMEM]. */
static void refused_realloc_keeps_the_block(void) {
    require_kept_on_failure(50);
    require_kept_on_failure(5000);
    require_kept_on_failure(MIB);
}

/* POSIX.1-2024 reallocarray(): [ENOMEM] if the product would overflow. */
static void reallocarray_product_overflows(void) {
    char *volatile block = opaque(reallocarray(NULL, 10, 10));
    require(block, "reallocarray(NULL, 10, 10) returned NULL");
    fill(block, 100, 6);
    require_refused(reallocarray(block, SIZE_MAX / 2 + 1, 2));
    require_refused(reallocarray(block, (size_t)1 << 33, (size_t)1 << 33));
    require_refused(reallocarray(NULL, SIZE_MAX / 16 + 2, 16));
    require(intact(block, 100, 6), "a refused reallocarray changed the block");
    block = opaque(reallocarray(block, 100, 100));
    require(block && intact(block, 100, 6), "reallocarray lost content");
    free(block);
}

static void require_aligned_block_resizes(size_t alignment, size_t size) {
    void *block = NULL;
    require(posix_memalign(&block, alignment, size) == 0, "posix_memalign(%zu, %zu) failed",
            alignment, size);
    fill(block, size, 7);
    block = opaque(realloc(block, size * 3));
    require(block && intact(block, size, 7),
            "realloc of a block of %zu bytes aligned to %zu lost content", size, alignment);
    block = opaque(realloc(block, size / 2 + 1));
    require(block && intact(block, size / 2 + 1, 7),
            "shrinking a block once aligned to %zu lost content", alignment);
    free(block);
}

/* C17 7.22.3.5 takes any pointer of a memory management function; POSIX.1-2024
 * posix_memalign() names realloc for its own. */
static void realloc_of_an_aligned_block(void) {
    for (size_t alignment = sizeof(void *); alignment <= MIB; alignment *= 2) {
        require_aligned_block_resizes(alignment, 40);
        require_aligned_block_resizes(alignment, 3000);
        require_aligned_block_resizes(alignment, 200 * KIB);
    }
}

/* Sizes where implementations move whole mappings instead of copying. */
static void realloc_of_a_large_block(void) {
    size_t size = (size_t)40 * MIB, shrunk = 100 * 1000;
    char *block = must_malloc(size);
    fill(block, size, 8);
    block = opaque(realloc(block, 2 * size));
    require(block && intact(block, size, 8), "growing 40 MiB to 80 MiB lost content");
    memset(block + size, 1, size);
    block = opaque(realloc(block, shrunk));
    require(block && intact(block, shrunk, 8), "shrinking 80 MiB to 100 kB lost content");
    free(block);
}

const struct check checks[] = {
    {"realloc_null", realloc_of_null_is_malloc},
    {"realloc_zero", realloc_to_zero},
    {"realloc_zero_leak", realloc_to_zero_leaks_nothing},
    {"realloc_content", realloc_keeps_the_prefix},
    {"realloc_fail_keep", refused_realloc_keeps_the_block},
    {"reallocarray", reallocarray_product_overflows},
    {"pm_realloc", realloc_of_an_aligned_block},
    {"realloc_large", realloc_of_a_large_block},
    {NULL, NULL},
};
