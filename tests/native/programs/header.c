/* What heapwright.h declares, used as it says; and its structs, field by field. */

#include "heapwright.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MIB ((size_t)1 << 20)

static int failures;

static void hold(int holds, const char *what) {
    if (!holds) {
        printf("does not hold: %s\n", what);
        failures++;
    }
}
#define HOLD(condition) hold(condition, #condition)

static int is_filled(const unsigned char *block, size_t size, int byte) {
    for (size_t i = 0; i < size; i++)
        if (block[i] != byte)
            return 0;
    return 1;
}

static void give_and_take(size_t size, size_t align) {
    unsigned char *block = (unsigned char *)heapwright_alloc(size, align);
    HOLD(block != NULL);
    HOLD((uintptr_t)block % align == 0 && (uintptr_t)block % 16 == 0);
    HOLD(heapwright_usable_size(block) >= size);
    memset(block, 7, size);
    block = (unsigned char *)heapwright_realloc(block, size, align, 2 * size + 1);
    HOLD(block != NULL && (uintptr_t)block % align == 0);
    HOLD(is_filled(block, size, 7));
    HOLD(heapwright_realloc(block, 2 * size + 1, align, SIZE_MAX) == NULL);
    HOLD(is_filled(block, size, 7));
    heapwright_dealloc(block, heapwright_usable_size(block), align);
    block = (unsigned char *)heapwright_alloc_zeroed(size, align);
    HOLD(block != NULL && is_filled(block, size, 0));
    heapwright_dealloc(block, size, align);
}

static void one_heap_for_both(void) {
    struct heapwright_stats before, between, after;
    HOLD(heapwright_stats(&before) == 0);
    void *volatile of_malloc = malloc(1000), *volatile of_ours = heapwright_alloc(1000, 64);
    heapwright_stats(&between);
    HOLD(between.allocs == before.allocs + 2);
    HOLD(between.live_bytes >= before.live_bytes + 2000 && between.peak_bytes >= between.live_bytes);
    heapwright_dealloc(of_malloc, 0, 16);
    free(of_ours);
    heapwright_stats(&after);
    HOLD(after.deallocs == before.deallocs + 2 && after.live_bytes == before.live_bytes);
}

static void sizes_at_the_ends(void) {
    void *empty = heapwright_alloc(0, 1), *other = heapwright_alloc(0, 1);
    HOLD(empty != NULL && other != NULL && empty != other);
    heapwright_dealloc(empty, 0, 1);
    other = heapwright_realloc(other, 0, 1, 24);
    HOLD(other != NULL);
    other = heapwright_realloc(other, 24, 1, 0);
    HOLD(other != NULL);
    heapwright_dealloc(other, 0, 1);
    HOLD(heapwright_alloc((size_t)PTRDIFF_MAX + 1, 1) == NULL);
    HOLD(heapwright_alloc(SIZE_MAX, 4096) == NULL);
}

static void memory_ends_and_comes_back(void) {
    struct heapwright_stats stats;
    heapwright_stats(&stats);
    HOLD(heapwright_limit((size_t)stats.heap_bytes) == 0);
    HOLD(heapwright_alloc(64 * MIB, 16) == NULL);
    heapwright_limit(0);
    void *block = heapwright_alloc(64 * MIB, 16);
    HOLD(block != NULL);
    heapwright_dealloc(block, 64 * MIB, 16);
    heapwright_trim(0);
    heapwright_stats(&stats);
    HOLD(stats.shrinks + stats.decommits > 0 || stats.free_bytes >= (long)(64 * MIB));
}

static void print_layout(void) {
    printf("%zu %zu\n", sizeof(struct heapwright_stats), sizeof(struct heapwright_size_class));
#define PLACE(kind, field) printf("%s %zu\n", #field, offsetof(struct heapwright_##kind, field))
    PLACE(size_class, size), PLACE(size_class, live_blocks), PLACE(size_class, live_bytes);
    PLACE(size_class, requests);
    PLACE(stats, live_bytes), PLACE(stats, live_blocks), PLACE(stats, peak_bytes), PLACE(stats, heap_bytes);
    PLACE(stats, peak_heap_bytes), PLACE(stats, free_bytes), PLACE(stats, free_blocks), PLACE(stats, largest_free);
    PLACE(stats, fast_bytes), PLACE(stats, fast_blocks);
    PLACE(stats, mapped_bytes), PLACE(stats, mapped_blocks), PLACE(stats, arena_bytes), PLACE(stats, spare_bytes);
    PLACE(stats, allocs), PLACE(stats, deallocs), PLACE(stats, reallocs), PLACE(stats, failures);
    PLACE(stats, growths), PLACE(stats, shrinks), PLACE(stats, decommits), PLACE(stats, classes);
}

int main(int count, char **words) {
    if (count > 1 && strcmp(words[1], "layout") == 0) {
        print_layout();
        return 0;
    }
#ifdef HEAPWRIGHT_OPTIONAL
    if (heapwright_alloc == NULL) {
        printf("another malloc\n");
        return 3;
    }
#endif
    for (size_t align = 1; align <= MIB; align *= 4)
        for (size_t size = 1; size <= MIB; size *= 32)
            give_and_take(size, align);
    one_heap_for_both();
    sizes_at_the_ends();
    memory_ends_and_comes_back();
    printf("%d\n", failures);
    return failures != 0;
}
