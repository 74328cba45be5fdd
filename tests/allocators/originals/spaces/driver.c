/* Calls of dlmalloc's spaces, one on a line of standard input, and what each gives. A space of -1 is dlmalloc itself.

     c CAPACITY      a space of its own number: 0, 1, 2 ...          b CAPACITY     the same, in memory of the caller's
     x SPACE         its end                                         q SPACE ON     large chunks in the space itself
     m SPACE SIZE    a block of its own number: 0, 1, 2 ...          a SPACE SIZE ALIGN   the same, aligned
     r BLOCK SIZE    the block of that number, resized               z BLOCK SIZE   the same, but it must not move
     f BLOCK         and freed                                       k SPACE BLOCK ...    many of them, freed together
     i SPACE COUNT SIZE   blocks of one size, then their array       o SPACE COUNT SIZE   the same with several sizes
     t SPACE PAD     trim                                            l SPACE BYTES  the limit of the footprint
     p OPTION VALUE  mallopt                                         s SPACE        chunks, bytes in use, footprint, peak

   The original is linked with this file, and gets its memory from it: tools/record_spaces.py does so. Mappings lie at the
   highest free place, as in heapwright's machine. Offsets from the end of memory are negative. */

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

enum { PAGE = 4096, PAGES = 1 << 14 };
typedef void (*visitor)(void *, void *, size_t, void *);

void *create_mspace(size_t, int), *create_mspace_with_base(void *, size_t, int);
size_t destroy_mspace(void *);
int mspace_track_large_chunks(void *, int), mspace_trim(void *, size_t), dlmallopt(int, int), dlmalloc_trim(size_t);
void *mspace_malloc(void *, size_t), *mspace_memalign(void *, size_t, size_t), mspace_free(void *, void *);
void *mspace_realloc(void *, void *, size_t), *mspace_realloc_in_place(void *, void *, size_t);
void **mspace_independent_calloc(void *, size_t, size_t, void **);
void **mspace_independent_comalloc(void *, size_t, size_t *, void **);
size_t mspace_bulk_free(void *, void **, size_t), mspace_footprint(void *), mspace_max_footprint(void *);
size_t mspace_set_footprint_limit(void *, size_t);
void mspace_inspect_all(void *, visitor, void *);
void *dlmalloc(size_t), *dlmemalign(size_t, size_t), dlfree(void *), *dlrealloc(void *, size_t);
void *dlrealloc_in_place(void *, size_t), **dlindependent_calloc(size_t, size_t, void **);
void **dlindependent_comalloc(size_t, size_t *, void **);
size_t dlbulk_free(void **, size_t), dlmalloc_footprint(void), dlmalloc_max_footprint(void);
size_t dlmalloc_set_footprint_limit(size_t);
void dlmalloc_inspect_all(visitor, void *);

static char *start, *top, is_taken[PAGES];

void *sbrk(intptr_t n) {
    char *old = top;
    top += n;
    return old;
}

void *original_mmap(size_t size) {
    long pages = size / PAGE, run = 0;
    for (long page = PAGES - 1; page >= 0; page--) {
        run = is_taken[page] ? 0 : run + 1;
        if (run == pages) {
            memset(is_taken + page, 1, pages);
            memset(start + page * PAGE, 0, size);
            return start + page * PAGE;
        }
    }
    return MAP_FAILED;
}

int original_munmap(void *place, size_t size) {
    memset(is_taken + ((char *)place - start) / PAGE, 0, size / PAGE);
    return 0;
}

static void *spaces[100], *blocks[4000];
static long owner[4000], space_count, count;

static void say(void *address) {
    long offset = (char *)address - start, size = (long)PAGE * PAGES;
    printf(" %ld", address == NULL ? 0 : offset < size / 2 ? offset : offset - size);
}

static void keep(long space, void *block) {
    owner[count] = space;
    blocks[count++] = block;
    say(block);
}

static void resize(long block, size_t size, int may_move) {
    void *space = owner[block] < 0 ? NULL : spaces[owner[block]], *old = blocks[block], *new;
    if (space == NULL)
        new = may_move ? dlrealloc(old, size) : dlrealloc_in_place(old, size);
    else
        new = may_move ? mspace_realloc(space, old, size) : mspace_realloc_in_place(space, old, size);
    if (new != NULL)
        blocks[block] = new;
    say(new);
}

static void together(long space, size_t number, size_t size, int is_cleared) {
    size_t sizes[100];
    void **array;
    for (size_t i = 0; i < number; i++)
        sizes[i] = size * (i + 1) % 777;
    if (is_cleared)
        array = space < 0 ? dlindependent_calloc(number, size, NULL)
                          : mspace_independent_calloc(spaces[space], number, size, NULL);
    else
        array = space < 0 ? dlindependent_comalloc(number, sizes, NULL)
                          : mspace_independent_comalloc(spaces[space], number, sizes, NULL);
    for (size_t i = 0; i < number; i++)
        keep(space, array[i]);
    keep(space, array);
}

static void free_together(long space) {
    void *array[100];
    long n = 0, block;
    while (scanf("%ld", &block) == 1)
        array[n++] = blocks[block];
    printf(" %zu", space < 0 ? dlbulk_free(array, n) : mspace_bulk_free(spaces[space], array, n));
}

static long chunks, used;
static void visit(void *from, void *to, size_t bytes, void *argument) {
    chunks++;
    used += bytes;
}

static void sum_up(long space) {
    chunks = used = 0;
    if (space < 0)
        dlmalloc_inspect_all(visit, NULL);
    else
        mspace_inspect_all(spaces[space], visit, NULL);
    printf(" %ld %ld %zu %zu", chunks, used, space < 0 ? dlmalloc_footprint() : mspace_footprint(spaces[space]),
           space < 0 ? dlmalloc_max_footprint() : mspace_max_footprint(spaces[space]));
}

static void call(char kind, long a, long b, long c) {
    void *space = a >= 0 && a < 100 ? spaces[a] : NULL;
    switch (kind) {
    case 'c': say(spaces[space_count++] = create_mspace(a, 1)); break;
    case 'b': say(spaces[space_count++] = create_mspace_with_base(original_mmap((a + PAGE - 1) / PAGE * PAGE), a, 0)); break;
    case 'x': printf(" %zu", destroy_mspace(space)); break;
    case 'q': printf(" %d", mspace_track_large_chunks(space, b)); break;
    case 'm': keep(a, a < 0 ? dlmalloc(b) : mspace_malloc(space, b)); break;
    case 'a': keep(a, a < 0 ? dlmemalign(c, b) : mspace_memalign(space, c, b)); break;
    case 'r': resize(a, b, 1); break;
    case 'z': resize(a, b, 0); break;
    case 'f': owner[a] < 0 ? dlfree(blocks[a]) : mspace_free(spaces[owner[a]], blocks[a]); break;
    case 'i': together(a, b, c, 1); break;
    case 'o': together(a, b, c, 0); break;
    case 't': a < 0 ? dlmalloc_trim(b) : mspace_trim(space, b); break;
    case 'l': printf(" %zu", a < 0 ? dlmalloc_set_footprint_limit(b) : mspace_set_footprint_limit(space, b)); break;
    case 'p': printf(" %d", dlmallopt(a, b)); break;
    case 's': sum_up(a); break;
    }
}

int main(void) {
    char kind;
    long a, b, c;
    start = top = mmap(NULL, (size_t)PAGE * PAGES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    while (scanf(" %c", &kind) == 1) {
        if (kind == 'k' && scanf("%ld", &a) == 1)
            free_together(a);
        else if (scanf("%ld %ld %ld", &a, &b, &c) == 3)
            call(kind, a, b, c);
        printf("\n");
    }
    return 0;
}
