/* posix_memalign, aligned_alloc, memalign, valloc and pvalloc. */
#include "check.h"

#include <errno.h>
#include <malloc.h>

enum { HELD = 4 }; /* blocks of one kind that live together: one alone may be aligned by luck */

static char untouched; /* its address marks a result that posix_memalign did not write */

/* POSIX.1-2024 posix_memalign(), RETURN VALUE: on failure the result is left
 * unmodified or set to a null pointer. */
static void require_error(size_t alignment, size_t size, int expected) {
    void *result = &untouched;
    int error = posix_memalign(&result, alignment, size);
    require(error == expected, "posix_memalign(%zu, %zu) returned %d, not %d", alignment, size,
            error, expected);
    require(result == &untouched || !result, "posix_memalign(%zu, %zu) failed, yet wrote a pointer",
            alignment, size);
}

/* POSIX.1-2024: [EINVAL] unless a power of two multiple of sizeof(void *). */
static void posix_memalign_rejects_bad_alignment(void) {
    static const size_t bad[] = {0,  1,  2,   3,        4,           5,
                                 24, 48, 100, SIZE_MAX, SIZE_MAX / 2, SIZE_MAX / 2 + 2};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        require_error(bad[i], 100, EINVAL);
        require_error(bad[i], 0, EINVAL);
    }
}

/* POSIX.1-2024: [ENOMEM], also when rounding to the alignment would wrap. */
static void posix_memalign_refuses_huge_sizes(void) {
    for (size_t alignment = 8; alignment <= 64 * KIB; alignment *= 2) {
        require_error(alignment, SIZE_MAX, ENOMEM);
        require_error(alignment, SIZE_MAX - alignment, ENOMEM);
        require_error(alignment, (size_t)PTRDIFF_MAX + 1, ENOMEM);
    }
}

/* POSIX reports by the return value; the Linux man page calls errno
 * indeterminate, so this is for information. */
static void posix_memalign_leaves_errno(void) {
    errno = EDOM;
    require_error(3, 100, EINVAL);
    require(errno == EDOM, "EINVAL also set errno to %d", errno);
    require_error(64, SIZE_MAX - 64, ENOMEM);
    require(errno == EDOM, "ENOMEM also set errno to %d", errno);
}

typedef void *allocate_aligned(size_t alignment, size_t size);

static void *by_posix_memalign(size_t alignment, size_t size) {
    void *block = NULL;
    require(posix_memalign(&block, alignment, size) == 0, "posix_memalign(%zu, %zu) failed",
            alignment, size);
    return block;
}

static void require_aligned(allocate_aligned *allocate, size_t alignment, size_t size) {
    char *blocks[HELD];
    for (unsigned i = 0; i < HELD; i++) {
        blocks[i] = opaque(allocate(alignment, size));
        require(blocks[i], "NULL for %zu bytes aligned to %zu", size, alignment);
        require(is_aligned(blocks[i], alignment), "%zu bytes are not aligned to %zu", size,
                alignment);
        fill(blocks[i], size, i);
    }
    for (unsigned i = 0; i < HELD; i++) {
        require(intact(blocks[i], size, i), "blocks of %zu bytes aligned to %zu overlap", size,
                alignment);
        free(blocks[i]);
    }
}

/* POSIX.1-2024 posix_memalign(). */
static void posix_memalign_aligns(void) {
    static const size_t sizes[] = {1,   8,   24,   100,  256,   257,   512,
                                   520, 768, 1024, 4096, 10000, 33000, 70000};
    for (size_t alignment = sizeof(void *); alignment <= 4 * MIB; alignment *= 2)
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
            require_aligned(by_posix_memalign, alignment, sizes[i]);
}

/* POSIX.1-2024: size 0 gives NULL or a pointer that free accepts. */
static void posix_memalign_of_no_bytes(void) {
    for (size_t alignment = sizeof(void *); alignment <= 64 * KIB; alignment *= 2) {
        void *blocks[HELD];
        for (unsigned i = 0; i < HELD; i++) {
            blocks[i] = by_posix_memalign(alignment, 0);
            require(is_aligned(blocks[i], alignment), "0 bytes are not aligned to %zu", alignment);
        }
        for (unsigned i = 0; i < HELD; i++)
            free(blocks[i]);
    }
}

/* Every power of two is a valid alignment; only memory may run out. */
static void posix_memalign_to_huge_alignment(void) {
    for (size_t alignment = 8 * MIB; alignment <= (size_t)1024 * MIB; alignment *= 2) {
        void *block = NULL;
        int error = posix_memalign(&block, alignment, 1000);
        require(error == 0 || error == ENOMEM, "alignment %zu gave error %d", alignment, error);
        if (error == 0) {
            require(is_aligned(block, alignment), "not aligned to %zu", alignment);
            fill(block, 1000, 1);
            free(block);
        }
    }
}

/* C17 7.22.3.1. */
static void aligned_alloc_aligns(void) {
    for (size_t alignment = 1; alignment <= 64 * KIB; alignment *= 2)
        for (size_t multiple = 1; multiple <= 4; multiple++)
            require_aligned(aligned_alloc, alignment, alignment * multiple);
}

/* C17 (DR 460) dropped the rule that the size be a multiple of the alignment. */
static void aligned_alloc_takes_any_size(void) {
    require_aligned(aligned_alloc, 64, 100);
    require_aligned(aligned_alloc, 4096, 1);
    require_aligned(aligned_alloc, 32, 5001);
}

/* C17 7.22.3.1: an alignment that is not supported fails; since glibc 2.38 that
 * means every one that is no power of two, with EINVAL. */
static void aligned_alloc_rejects_bad_alignment(void) {
    static const size_t bad[] = {3, 24, 48, 100, 4097, SIZE_MAX, 0};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        errno = 0;
        void *block = opaque(aligned_alloc(bad[i], 4096));
        require(!block, "aligned_alloc(%zu, 4096) returned a block", bad[i]);
        require(errno == EINVAL, "aligned_alloc(%zu, 4096) set errno to %d", bad[i], errno);
    }
}

/* Whether memalign rounds a bad alignment up or rejects it is its own affair. */
static void usable_or_rejected(size_t alignment) {
    errno = 0;
    char *block = opaque(memalign(alignment, 100));
    require(block || errno == EINVAL || errno == ENOMEM,
            "memalign(%zu, 100) failed with errno %d", alignment, errno);
    if (block)
        fill(block, 100, 1);
    free(block);
}

/* glibc manual, "Allocating Aligned Memory Blocks"; BZ 22343 (sizes that wrap). */
static void memalign_of_odd_arguments(void) {
    usable_or_rejected(0);
    usable_or_rejected(24);
    errno = 0;
    require(!opaque(memalign(SIZE_MAX / 2 + 2, 100)),
            "memalign accepted an alignment of 2^63 + 1");
    require(errno == EINVAL || errno == ENOMEM, "an alignment of 2^63 + 1 set errno to %d", errno);
    for (size_t alignment = 16; alignment <= MIB; alignment *= 4)
        for (size_t below = 0; below <= 2 * alignment; below += alignment / 2)
            require_refused_as(memalign(alignment, SIZE_MAX - below),
                               "memalign(%zu, SIZE_MAX - %zu)", alignment, below);
}

static void require_pages(void *block, size_t size, const char *name) {
    require(block, "%s(%zu) returned NULL", name, size);
    require(is_aligned(block, page_size()), "%s(%zu) is not aligned to a page", name, size);
    fill(block, size, 2);
    free(block);
}

/* Linux man-pages posix_memalign(3); both must come from the heap that free
 * knows, which fails when a library defines free but not these. */
static void valloc_and_pvalloc_give_pages(void) {
    size_t sizes[] = {1, 100, page_size(), page_size() + 1, 100 * 1000};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        require_pages(opaque(valloc(sizes[i])), sizes[i], "valloc");
        size_t rounded = (sizes[i] + page_size() - 1) / page_size() * page_size();
        void *block = opaque(pvalloc(sizes[i]));
        require(malloc_usable_size(block) >= rounded, "pvalloc(%zu) is not rounded up", sizes[i]);
        require_pages(block, rounded, "pvalloc");
    }
}

/* Rounding up to a page must not wrap to a small block. */
static void pvalloc_size_wraps(void) {
    for (size_t below = 0; below < 2 * page_size(); below += 511) {
        require_refused_as(pvalloc(SIZE_MAX - below), "pvalloc(SIZE_MAX - %zu)", below);
        require_refused_as(valloc(SIZE_MAX - below), "valloc(SIZE_MAX - %zu)", below);
    }
}

const struct check checks[] = {
    {"pm_einval", posix_memalign_rejects_bad_alignment},
    {"pm_enomem", posix_memalign_refuses_huge_sizes},
    {"pm_errno", posix_memalign_leaves_errno},
    {"pm_aligned", posix_memalign_aligns},
    {"pm_size0", posix_memalign_of_no_bytes},
    {"pm_hugealign", posix_memalign_to_huge_alignment},
    {"aa_basic", aligned_alloc_aligns},
    {"aa_nonmultiple", aligned_alloc_takes_any_size},
    {"aa_badalign", aligned_alloc_rejects_bad_alignment},
    {"memalign_odd", memalign_of_odd_arguments},
    {"valloc", valloc_and_pvalloc_give_pages},
    {"pvalloc_ovf", pvalloc_size_wraps},
    {NULL, NULL},
};
