/* malloc and calloc at the edges of their size arguments, and the alignment of
 * ordinary blocks.
 */
#include "check.h"

#include <errno.h>
#include <stdalign.h>

enum { NEAR_MAXIMUM = 70000, LARGEST_ALIGNED = 5000 };

/* Linux man-pages malloc(3): "a unique pointer value that can later be
 * successfully passed to free()"; C17 7.22.3 would also allow NULL. */
static void malloc_zero_is_distinct(void) {
    void *first = opaque(malloc(0));
    void *second = opaque(malloc(0));
    require(first && second, "malloc(0) returned NULL");
    require(first != second, "two live malloc(0) share one address");
    free(first);
    free(second);
}

/* C17 7.22.3.3: no action occurs.  POSIX.1-2024 free(): errno is preserved. */
static void free_null_does_nothing(void) {
    errno = EDOM;
    free(opaque(NULL));
    require(errno == EDOM, "free(NULL) set errno to %d", errno);
}

static void require_alignment(size_t size, size_t alignment, void **blocks) {
    void *block = must_malloc(size);
    require(is_aligned(block, alignment), "malloc(%zu) is not aligned to %zu", size, alignment);
    blocks[size] = block; /* all stay live: a lone block may be aligned by luck */
}

static void free_all(void **blocks, size_t count) {
    for (size_t i = 0; i < count; i++)
        free(blocks[i]);
}

/* C17 7.22.3: fit for any object with a fundamental alignment requirement,
 * which is max_align_t whatever the size. */
static void every_size_fits_max_align(void) {
    static void *blocks[LARGEST_ALIGNED + 1];
    for (size_t size = 1; size <= LARGEST_ALIGNED; size++)
        require_alignment(size, alignof(max_align_t), blocks);
    free_all(blocks, LARGEST_ALIGNED + 1);
}

static size_t largest_alignment_within(size_t size) {
    size_t alignment = 1;
    while (alignment * 2 <= size && alignment < alignof(max_align_t))
        alignment *= 2;
    return alignment;
}

/* C23 7.24.3: only objects no larger than the block have to fit. */
static void alignment_fits_the_size(void) {
    static void *blocks[LARGEST_ALIGNED + 1];
    for (size_t size = 1; size <= LARGEST_ALIGNED; size++)
        require_alignment(size, largest_alignment_within(size), blocks);
    free_all(blocks, LARGEST_ALIGNED + 1);
}

/* POSIX.1-2024 malloc(): a null pointer and [ENOMEM]. */
static void malloc_of_size_max(void) { require_refused(malloc(SIZE_MAX)); }

/* glibc 2.30 NEWS: requests above PTRDIFF_MAX fail, since pointers into such a
 * block could not be subtracted. */
static void malloc_beyond_ptrdiff(void) {
    require_refused(malloc((size_t)PTRDIFF_MAX + 1));
    require_refused(malloc((size_t)PTRDIFF_MAX + 4096));
    require_refused(malloc((size_t)PTRDIFF_MAX / 2 * 3));
}

/* Either refused properly or a real block: its last byte can be written. */
static void refused_or_real(size_t size) {
    errno = 0;
    char *block = opaque(malloc(size));
    require(block || errno == ENOMEM, "malloc(%zu) set errno to %d", size, errno);
    if (block) {
        block[0] = block[size - 1] = 1;
        free(block);
    }
}

/* glibc BZ 22343, BZ 22375: adding a header or rounding up must not wrap. */
static void malloc_near_size_max(void) {
    for (size_t k = 0; k < NEAR_MAXIMUM; k++)
        require_refused_as(malloc(SIZE_MAX - k), "malloc(SIZE_MAX - %zu)", k);
    for (unsigned bit = 4; bit < 63; bit++)
        refused_or_real((size_t)1 << bit);
}

/* POSIX.1-2024 malloc(): the error is [ENOMEM], whatever mmap reported. */
static void malloc_just_below_ptrdiff(void) {
    require_refused(malloc((size_t)PTRDIFF_MAX - 64));
}

/* C17 7.22.3.2 asks for space for the whole array; a wrapped product is not. */
static void calloc_product_overflows(void) {
    static const struct {
        size_t count, size;
    } products[] = {
        {SIZE_MAX, SIZE_MAX},
        {SIZE_MAX, 2},
        {2, SIZE_MAX},
        {SIZE_MAX / 2 + 1, 2},
        {SIZE_MAX / 16 + 2, 16},
        {24, SIZE_MAX / 24 + 1},
        {(size_t)1 << 32, (size_t)1 << 32},
        {((size_t)1 << 33) + 1, (size_t)1 << 31},
    };
    for (size_t i = 0; i < sizeof products / sizeof products[0]; i++)
        require_refused_as(calloc(products[i].count, products[i].size), "calloc(%zu, %zu)",
                           products[i].count, products[i].size);
}

/* The product does not wrap, yet no object can be that large. */
static void calloc_beyond_ptrdiff(void) {
    require_refused(calloc(1, (size_t)PTRDIFF_MAX + 1));
    require_refused(calloc((size_t)PTRDIFF_MAX + 1, 1));
    require_refused(calloc((size_t)PTRDIFF_MAX / 8 + 1, 8));
}

/* As malloc(0). */
static void calloc_zero_is_distinct(void) {
    void *first = opaque(calloc(0, 8));
    void *second = opaque(calloc(8, 0));
    require(first && second, "calloc of no bytes returned NULL");
    require(first != second, "two live blocks of no bytes share one address");
    free(first);
    free(second);
}

const struct check checks[] = {
    {"malloc0", malloc_zero_is_distinct},
    {"free_null", free_null_does_nothing},
    {"align16_all", every_size_fits_max_align},
    {"align_weak", alignment_fits_the_size},
    {"malloc_sizemax", malloc_of_size_max},
    {"malloc_ptrdiff", malloc_beyond_ptrdiff},
    {"malloc_near_max", malloc_near_size_max},
    {"malloc_ptrdiff_minus", malloc_just_below_ptrdiff},
    {"calloc_ovf", calloc_product_overflows},
    {"calloc_big", calloc_beyond_ptrdiff},
    {"calloc0", calloc_zero_is_distinct},
    {NULL, NULL},
};
