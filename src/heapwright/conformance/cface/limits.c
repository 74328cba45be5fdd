/* Where memory ends: address space, the break, the number of mappings; and
 * whether the heap recovers, and gives back.
 */
#include "check.h"

#include <errno.h>
#include <malloc.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

/* --- no more address space ------------------------------------------------------ */

enum {
    ROOM = 64 * MIB,      /* what the limit leaves beyond today's address space */
    LARGE = 1 * MIB,
    MOST_LARGE = 8192,    /* a heap that reserved more than this in advance cannot be exhausted */
    SMALL = 1000,
    MOST_SMALL = 200000,
};

static void *large[MOST_LARGE], *small[MOST_SMALL];

static void limit_address_space(void) {
    struct rlimit limit;
    getrlimit(RLIMIT_AS, &limit);
    limit.rlim_cur = virtual_bytes() + ROOM;
    require(setrlimit(RLIMIT_AS, &limit) == 0, "setrlimit failed: errno %d", errno);
}

/* Allocate until NULL; the answer is the number of blocks. */
static size_t exhaust(void **blocks, size_t most, size_t size) {
    for (size_t count = 0; count < most; count++) {
        errno = 0;
        char *block = opaque(malloc(size));
        if (!block) {
            require(errno == ENOMEM, "out of memory, errno is %d", errno);
            return count;
        }
        block[0] = block[size - 1] = 1;
        blocks[count] = block;
    }
    return most;
}

static void free_blocks(void **blocks, size_t count) {
    for (size_t i = 0; i < count; i++)
        free(blocks[i]);
}

/* POSIX.1-2024 malloc(): NULL and [ENOMEM]; a program that frees can go on. */
static void survive_exhaustion(void) {
    limit_address_space();
    size_t large_count = exhaust(large, MOST_LARGE, LARGE);
    if (large_count == MOST_LARGE)
        cannot_try("the heap reserved its address space in advance");
    size_t small_count = exhaust(small, MOST_SMALL, SMALL);
    free_blocks(small, small_count);
    free_blocks(large, large_count);
    for (unsigned i = 0; i < 8; i++)
        free(must_malloc(LARGE));
    torture(5, 1000);
}

static void *allocate_what_there_is(void *unused) {
    void *blocks[64];
    size_t count = exhaust(blocks, 64, 3 * SMALL);
    free_blocks(blocks, count);
    return unused;
}

/* A new thread wants memory of its own from the heap; it may be refused, and
 * pthread_create may report [EAGAIN], but nothing may crash. */
static void start_threads_near_exhaustion(void) {
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 128 * KIB);
    limit_address_space();
    size_t count = exhaust(large, MOST_LARGE, LARGE);
    for (unsigned i = 0; i < 24; i++) {
        if (i % 4 == 0 && count > 0)
            free(large[--count]);
        pthread_t thread;
        int error = pthread_create(&thread, &attributes, allocate_what_there_is, NULL);
        require(error == 0 || error == EAGAIN || error == ENOMEM, "pthread_create gave %d", error);
        if (error == 0)
            join_thread(thread);
    }
    free_blocks(large, count);
    free(must_malloc(LARGE));
}

/* --- the break ---------------------------------------------------------------------- */

enum { BREAK_ROUNDS = 64, BREAK_STEP = 5000, BLOCKS_A_ROUND = 40 };

static void *filled_block(size_t size, uint64_t seed) {
    void *block = must_malloc(size);
    fill(block, size, seed);
    return block;
}

static void *advance_break(uint64_t seed) {
    void *area = sbrk(BREAK_STEP);
    if (area == (void *)-1)
        cannot_try("sbrk is refused");
    fill(area, BREAK_STEP, seed);
    return area;
}

/* Linux man-pages brk(2), sbrk(2): what sbrk returned belongs to the caller. */
static void share_the_break(void) {
    static void *areas[BREAK_ROUNDS], *blocks[BREAK_ROUNDS][BLOCKS_A_ROUND];
    for (size_t round = 0; round < BREAK_ROUNDS; round++) {
        areas[round] = advance_break(round);
        for (size_t i = 0; i < BLOCKS_A_ROUND; i++)
            blocks[round][i] = filled_block(100 * i + 1, round + i);
    }
    require(mallinfo2().uordblks <= virtual_bytes(), "mallinfo2 took memory of another sbrk for blocks");
    for (size_t round = 0; round < BREAK_ROUNDS; round++) {
        require(intact(areas[round], BREAK_STEP, round), "the heap used memory of another sbrk");
        for (size_t i = 0; i < BLOCKS_A_ROUND; i++) {
            require(intact(blocks[round][i], 100 * i + 1, round + i), "a block was changed");
            free(blocks[round][i]);
        }
    }
    for (size_t round = 0; round < BREAK_ROUNDS; round++)
        require(intact(areas[round], BREAK_STEP, round), "free used memory of another sbrk");
}

/* A mapping in its way stops the break, as happens in crowded address spaces. */
static void obstruct_the_break(void) {
    uintptr_t end = ((uintptr_t)sbrk(0) + page_size() - 1) / page_size() * page_size();
    void *wall = mmap((void *)end, page_size(), PROT_NONE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    if (wall != (void *)end || sbrk(MIB) != (void *)-1)
        cannot_try("the break cannot be obstructed");
}

static void heap_without_the_break(void) {
    enum { COUNT = 20000, SIZE = 3000 };
    static void *blocks[COUNT];
    obstruct_the_break();
    for (size_t i = 0; i < COUNT; i++)
        blocks[i] = filled_block(SIZE, i);
    for (size_t i = 0; i < COUNT; i++) {
        require(intact(blocks[i], SIZE, i), "a block was changed");
        free(blocks[i]);
    }
}

/* --- the number of mappings ---------------------------------------------------------- */

/* More than vm.max_map_count allows by default (65 530), of a size that many
 * heaps map one by one.  Only two bytes of each are touched. */
static void more_blocks_than_mappings(void) {
    enum { COUNT = 70000, SIZE = 264 * KIB };
    static void *blocks[COUNT];
    size_t count = exhaust(blocks, COUNT, SIZE);
    if (count < COUNT)
        remark("NULL after %zu blocks of %d bytes", count, SIZE);
    /* Every second first: the mappings cannot be joined again meanwhile.  In this
     * order a list sorted by address finds each place at its front. */
    for (size_t i = (count + 1) / 2; i-- > 0;)
        free(blocks[2 * i]);
    for (size_t i = 1; i < count; i += 2)
        free(blocks[i]);
    free(must_malloc(SIZE));
    torture(6, 1000);
}

/* --- giving back ----------------------------------------------------------------------- */

/* No standard asks for it; long-lived programs do. */
static void freed_memory_is_returned(void) {
    enum { COUNT = 100000, SIZE = 2360 };
    static void *blocks[COUNT];
    size_t before = resident_bytes();
    for (size_t i = 0; i < COUNT; i++)
        memset(blocks[i] = must_malloc(SIZE), 1, SIZE);
    size_t used = growth_since(before);
    free_blocks(blocks, COUNT);
    malloc_trim(0);
    size_t kept = growth_since(before);
    require(kept <= used / 2, "%zu %% of %zu bytes stay resident", kept * 100 / used, used);
    remark("%zu %% of %zu bytes stay resident", kept * 100 / used, used);
}

const struct check checks[] = {
    {"oom_rlimit", survive_exhaustion},
    {"oom_thread", start_threads_near_exhaustion},
    {"sbrk_coexist", share_the_break},
    {"brk_limited", heap_without_the_break},
    {"many_maps", more_blocks_than_mappings},
    {"rss_return", freed_memory_is_returned},
    {NULL, NULL},
};
