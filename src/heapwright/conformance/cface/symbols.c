/* Which functions the library defines itself.
 *
 * glibc manual, "Replacing malloc", names the functions a replacement must and
 * may define.  One that is missing is taken from the C library, whose heap is
 * another: a block then meets the wrong free, or a statistic the wrong heap.
 */
#include "check.h"

static void require_own(const char *symbol) {
    if (!checked_library)
        cannot_try("there is no library to ask");
    require(defined_by_checked_library(symbol), "%s is not the library's own", symbol);
}

#define SYMBOLS(EACH)                                                                              \
    EACH(malloc)                                                                                   \
    EACH(free)                                                                                     \
    EACH(calloc)                                                                                   \
    EACH(realloc)                                                                                  \
    EACH(reallocarray)                                                                             \
    EACH(memalign)                                                                                 \
    EACH(aligned_alloc)                                                                            \
    EACH(posix_memalign)                                                                           \
    EACH(valloc)                                                                                   \
    EACH(pvalloc)                                                                                  \
    EACH(malloc_usable_size)                                                                       \
    EACH(cfree)                                                                                    \
    EACH(free_sized)                                                                               \
    EACH(free_aligned_sized)                                                                       \
    EACH(mallopt)                                                                                  \
    EACH(mallinfo)                                                                                 \
    EACH(mallinfo2)                                                                                \
    EACH(malloc_trim)                                                                              \
    EACH(malloc_info)                                                                              \
    EACH(malloc_stats)                                                                             \
    EACH(__libc_memalign)                                                                          \
    EACH(__libc_malloc)                                                                            \
    EACH(_Znwm)                                                                                    \
    EACH(_ZdlPv)                                                                                   \
    EACH(_Znam)                                                                                    \
    EACH(_ZdaPv)

#define JUDGE(symbol)                                                                              \
    static void own_##symbol(void) { require_own(#symbol); }
#define ENTRY(symbol) {"sym_" #symbol, own_##symbol},

SYMBOLS(JUDGE)

const struct check checks[] = {SYMBOLS(ENTRY){NULL, NULL}};
