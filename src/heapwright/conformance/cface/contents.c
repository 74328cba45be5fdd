/* What blocks hold, how large they are, and what errno says after success. */
#include "check.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <string.h>
#include <unistd.h>

enum { NEIGHBOURS = 8, SIZE_STEPS = 33, SHARED_BLOCKS = 2000, TORTURES = 60000 };

/* 1 B to 3 MB in SIZE_STEPS steps of about the same ratio. */
static size_t size_step(unsigned step) {
    size_t size = 1;
    for (unsigned i = 0; i < step; i++)
        size += size * 5 / 9 + 1;
    return size < 3000000 ? size : 3000000;
}

static void dirty(size_t size) {
    void *blocks[NEIGHBOURS];
    for (unsigned i = 0; i < NEIGHBOURS; i++)
        memset(blocks[i] = must_malloc(size), 0xff, size);
    for (unsigned i = 0; i < NEIGHBOURS; i++)
        free(blocks[i]);
}

static void require_zeroed(size_t size) {
    void *blocks[NEIGHBOURS];
    for (unsigned i = 0; i < NEIGHBOURS; i++) {
        blocks[i] = opaque(calloc(1, size));
        require(blocks[i], "calloc(1, %zu) returned NULL", size);
        require(all_zero(blocks[i], size), "calloc(1, %zu) is not zero", size);
    }
    for (unsigned i = 0; i < NEIGHBOURS; i++)
        free(blocks[i]);
}

/* C17 7.22.3.2: all bits zero, also where a freed block is used again. */
static void calloc_zeroes_dirty_memory(void) {
    for (unsigned step = 0; step < SIZE_STEPS; step++) {
        dirty(size_step(step));
        require_zeroed(size_step(step));
    }
}

/* Linux man-pages malloc_usable_size(3): 0 for NULL, at least the request, and
 * the excess bytes can be overwritten without ill effects. */
static void usable_bytes_are_private(void) {
    static void *blocks[SHARED_BLOCKS];
    static size_t usable[SHARED_BLOCKS];
    require(malloc_usable_size(opaque(NULL)) == 0, "malloc_usable_size(NULL) is not 0");
    for (size_t i = 0; i < SHARED_BLOCKS; i++) {
        blocks[i] = must_malloc(i * i % 9001);
        usable[i] = malloc_usable_size(blocks[i]);
        require(usable[i] >= i * i % 9001, "usable size %zu of %zu bytes", usable[i],
                i * i % 9001);
        fill(blocks[i], usable[i], i);
    }
    for (size_t i = 0; i < SHARED_BLOCKS; i++) {
        require(intact(blocks[i], usable[i], i), "two blocks share usable bytes");
        free(blocks[i]);
    }
}

/* No standard bounds the excess; this says whether it stays moderate. */
static void usable_size_is_moderate(void) {
    for (size_t size = 0; size < 3000000; size += size / 16 + 1) {
        void *block = must_malloc(size);
        size_t usable = malloc_usable_size(block);
        require(usable <= 2 * size + 4096, "usable size %zu of %zu bytes", usable, size);
        free(block);
    }
}

/* POSIX.1-2024 free(): errno is not modified when a block is freed. */
static void free_preserves_errno(void) {
    for (size_t size = 20; size <= (size_t)40 * MIB; size *= 3) {
        char *block = must_malloc(size);
        block[0] = block[size - 1] = 1;
        errno = EDOM;
        free(block);
        require(errno == EDOM, "free of %zu bytes set errno to %d", size, errno);
    }
}

static void require_errno_kept(void *block, const char *call, size_t size) {
    int reported = errno;
    require(opaque(block), "%s of %zu bytes returned NULL", call, size);
    require(reported == EDOM, "%s of %zu bytes succeeded and set errno to %d", call, size,
            reported);
}

/* ISO C lets a function that succeeds change errno; programs rarely expect it. */
static void success_leaves_errno(void) {
    for (size_t size = 1; size <= 8 * MIB; size *= 3) {
        errno = EDOM;
        void *block = malloc(size), *zeroed = calloc(1, size), *aligned = memalign(64, size);
        require_errno_kept(block, "malloc", size);
        require_errno_kept(zeroed, "calloc", size);
        require_errno_kept(aligned, "memalign", size);
        block = realloc(block, 2 * size);
        require_errno_kept(block, "realloc", size);
        free(block);
        free(zeroed);
        free(aligned);
    }
}

static void random_work(void) { torture(1, TORTURES); }

/* Free memory and what the kernel can reclaim, which sysconf does not tell. */
static size_t available_bytes(void) {
    char text[1024] = "";
    int file = open("/proc/meminfo", O_RDONLY | O_CLOEXEC);
    if (file < 0 || read(file, text, sizeof text - 1) <= 0)
        cannot_try("/proc/meminfo cannot be read");
    close(file);
    const char *line = strstr(text, "MemAvailable:");
    return line ? strtoul(line + strlen("MemAvailable:"), NULL, 10) * KIB : 0;
}

/* The sizes cross 2^31 and 2^32.  Only four bytes are touched, yet an
 * implementation may copy everything to grow, hence the question for memory. */
static void block_beyond_32_bits(void) {
    size_t size = ((size_t)2 << 30) + 4096, grown = (size_t)5 << 30;
    if (available_bytes() < grown + ((size_t)1 << 30))
        cannot_try("less than 6 GiB of memory are free");
    char *block = opaque(malloc(size));
    if (!block)
        cannot_try("a block of 2 GiB was refused");
    block[0] = 'a';
    block[size - 1] = 'z';
    block = opaque(realloc(block, grown));
    if (!block)
        cannot_try("growing 2 GiB to 5 GiB was refused");
    block[grown - 1] = '!';
    require(block[0] == 'a' && block[size - 1] == 'z', "growing 2 GiB to 5 GiB lost content");
    free(block);
}

const struct check checks[] = {
    {"calloc_zero_dirty", calloc_zeroes_dirty_memory},
    {"usable", usable_bytes_are_private},
    {"size_monotone", usable_size_is_moderate},
    {"free_errno", free_preserves_errno},
    {"ok_errno", success_leaves_errno},
    {"torture1", random_work},
    {"large_virtual", block_beyond_32_bits},
    {NULL, NULL},
};
