/* Random work on a table of blocks.  Whatever is written is verified before it
 * is given up, so two live blocks that overlap, and content that is lost in
 * realloc or not zeroed by calloc, are noticed.
 */
#include "check.h"

#include <stdatomic.h>

enum { SLOTS = 256, MOST_THREADS = 16 };

struct slot {
    void *block;
    size_t size;
    uint64_t seed;
};

/* Mostly small, some of a few pages, a few that allocators treat as large.
 * Never 0: what that gives is the affair of sizes.c. */
static size_t random_size(uint64_t *random) {
    uint64_t draw = next_random(random);
    size_t limit = draw % 64 == 0 ? 200 * KIB : draw % 8 == 0 ? 8 * KIB : 512;
    return (draw >> 16) % limit + 1;
}

/* Only the content matters here; the alignment is the affair of aligned.c. */
static void *aligned_block(uint64_t *random, size_t size) {
    return must_malloc_aligned((size_t)16 << next_random(random) % 9, size);
}

static void *zeroed_block(size_t size) {
    void *block = opaque(calloc(size, 1));
    require(block, "calloc(%zu, 1) returned NULL", size);
    require(all_zero(block, size), "calloc(%zu, 1) is not zero", size);
    return block;
}

static void occupy(struct slot *slot, uint64_t *random) {
    uint64_t kind = next_random(random) % 8;
    slot->size = random_size(random);
    slot->seed = next_random(random);
    slot->block = kind == 0   ? aligned_block(random, slot->size)
                  : kind <= 2 ? zeroed_block(slot->size)
                              : must_malloc(slot->size);
    fill(slot->block, slot->size, slot->seed);
}

static void verify(const struct slot *slot) {
    require(intact(slot->block, slot->size, slot->seed), "a live block of %zu bytes was changed",
            slot->size);
}

static void vacate(struct slot *slot) {
    verify(slot);
    free(slot->block);
    slot->block = NULL;
}

static void resize(struct slot *slot, uint64_t *random) {
    size_t size = random_size(random);
    size_t kept = size < slot->size ? size : slot->size;
    verify(slot);
    slot->block = opaque(realloc(slot->block, size));
    require(slot->block, "realloc to %zu bytes returned NULL", size);
    require(intact(slot->block, kept, slot->seed), "realloc from %zu to %zu lost content",
            slot->size, size);
    slot->size = size;
    fill(slot->block, size, slot->seed);
}

void torture(uint64_t seed, unsigned operations) {
    struct slot slots[SLOTS] = {0};
    uint64_t random = seed * 0x9E3779B97F4A7C15u + 1;
    for (unsigned i = 0; i < operations; i++) {
        struct slot *slot = &slots[next_random(&random) % SLOTS];
        if (!slot->block)
            occupy(slot, &random);
        else if (next_random(&random) % 3 == 0)
            resize(slot, &random);
        else
            vacate(slot);
    }
    for (unsigned i = 0; i < SLOTS; i++)
        if (slots[i].block)
            vacate(&slots[i]);
}

/* --- threads that keep the heap busy ---------------------------------------- */

static atomic_bool stopping;
static pthread_t busy_threads[MOST_THREADS];
static unsigned busy_count;

static void *allocate_until_stopped(void *seed) {
    for (uint64_t round = (uintptr_t)seed; !stopping; round += MOST_THREADS)
        if (memory_is_plentiful())
            torture(round, 200);
        else
            pause_microseconds(100);
    return NULL;
}

void start_allocating_threads(unsigned count) {
    stopping = false;
    for (busy_count = 0; busy_count < count; busy_count++)
        busy_threads[busy_count] =
            start_thread(allocate_until_stopped, (void *)(uintptr_t)(busy_count + 1));
}

void stop_allocating_threads(void) {
    stopping = true;
    while (busy_count > 0)
        join_thread(busy_threads[--busy_count]);
}
