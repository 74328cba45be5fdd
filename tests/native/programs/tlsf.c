/* What tlsf.h declares, used as it says. */

#include "heapwright.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KIB ((size_t)1 << 10)

static int failures;
static char memory[256 * KIB] __attribute__((aligned(16))), more[64 * KIB] __attribute__((aligned(16)));

static void hold(int holds, const char *what) {
    if (!holds) {
        printf("does not hold: %s\n", what);
        failures++;
    }
}
#define HOLD(condition) hold(condition, #condition)

static int lies_in(void *block, char *start, size_t size) {
    return (char *)block >= start && (char *)block < start + size;
}

struct sums {
    size_t used, free;
};

static void add(void *block, size_t size, int is_used, void *argument) {
    struct sums *sums = (struct sums *)argument;
    HOLD((uintptr_t)block % tlsf_align_size() == 0);
    *(is_used ? &sums->used : &sums->free) += size;
}

static struct sums sums_of(pool_t pool) {
    struct sums sums = {0, 0};
    tlsf_walk_pool(pool, add, &sums);
    return sums;
}

static void an_allocator(void) {
    tlsf_t own = tlsf_create_with_pool(memory, sizeof memory);
    pool_t first = tlsf_get_pool(own);
    HOLD(own == memory && (char *)first == memory + tlsf_size() && tlsf_next_pool(first) == NULL);
    HOLD(sums_of(first).free == sizeof memory - tlsf_size() - tlsf_pool_overhead());
    char *block = (char *)tlsf_malloc(own, 1000);
    HOLD(lies_in(block, memory, sizeof memory) && tlsf_block_size(block) >= 1000);
    memset(block, 7, 1000);
    block = (char *)tlsf_realloc(own, block, 5000);
    HOLD(block[999] == 7 && sums_of(first).used >= 5000);
    errno = 0;
    HOLD(tlsf_malloc(own, 200 * KIB + sizeof more) == NULL && errno == ENOMEM);
    HOLD(tlsf_realloc(own, block, SIZE_MAX) == NULL && block[999] == 7);
    HOLD((uintptr_t)tlsf_memalign(own, 4096, 10) % 4096 == 0 && tlsf_memalign(own, 24, 10) == NULL);
    HOLD(tlsf_check(own) == 0 && tlsf_check_pool(first) == 0);

    pool_t second = tlsf_add_pool(own, more, sizeof more);
    HOLD(second == more && tlsf_get_pool(own) == second && tlsf_next_pool(second) == first);
    HOLD(tlsf_add_pool(own, memory, tlsf_pool_overhead()) == NULL && tlsf_add_pool(own, memory + 8, 4 * KIB) == NULL);
    void *large = tlsf_malloc(own, 60 * KIB);
    HOLD(lies_in(large, more, sizeof more) && tlsf_remove_pool(own, second) == 0);
    tlsf_free(own, large);
    HOLD(tlsf_remove_pool(own, second) == 1 && tlsf_get_pool(own) == first);
    HOLD(tlsf_realloc(own, block, 0) == NULL && tlsf_remove_pool(own, first) == 0);
    tlsf_destroy(own);
    memset(memory, 1, sizeof memory);
}

static void corruption(void) {
    tlsf_t own = tlsf_create(memory);
    pool_t pool = tlsf_add_pool(own, more, sizeof more);
    char *block = (char *)tlsf_malloc(own, 1000);
    memset(block, 0, tlsf_block_size(block) + 8);
    HOLD(tlsf_check_pool(pool) > 0 && tlsf_check(own) > 0);
    tlsf_destroy(own);
}

static void the_heap_of_malloc(void) {
    HOLD(tlsf_get_pool(NULL) == NULL);
    pool_t pool = tlsf_add_pool(NULL, more, sizeof more);
    void *volatile blocks[200];
    int lent = 0;
    for (int i = 0; i < 200; i++) {
        blocks[i] = i % 2 ? malloc(2000) : tlsf_malloc(NULL, 2000);
        lent += lies_in(blocks[i], more, sizeof more);
    }
    HOLD(lent > 20 && tlsf_check_pool(pool) == 0 && tlsf_check(NULL) == 0 && tlsf_remove_pool(NULL, pool) == 0);
    for (int i = 0; i < 200; i++)
        i % 3 ? free(blocks[i]) : tlsf_free(NULL, blocks[i]);
    HOLD(tlsf_remove_pool(NULL, pool) == 1);
    memset(more, 2, sizeof more);
    void *volatile later = malloc(2000);
    HOLD(!lies_in(later, more, sizeof more));
    free(later);
}

int main(void) {
    HOLD(tlsf_block_size_min() == 24 && tlsf_block_size_max() >= (size_t)1 << 40);
    an_allocator();
    corruption();
    the_heap_of_malloc();
    printf("%d\n", failures);
    return failures != 0;
}
