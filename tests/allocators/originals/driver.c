/* Calls of an original, one on a line of standard input, and the offset of each block that it gives.

     m 0 SIZE        a block of its own number: 0, 1, 2 ...
     a ALIGN SIZE    the same, aligned
     c 0 SIZE        the same, all zeros
     r BLOCK SIZE    the block of that number, resized
     f BLOCK 0       and freed
     t PAD 0         free memory goes back to the kernel: 0 for the offset

   The original is linked with this file, and gets its memory from it: tools/record_originals.py does so. The process's
   own malloc is an original, too; its heap begins at the break, and of a block elsewhere -1 is the offset. */

#include <stddef.h>
#include <stdio.h>
#include <stdint.h>
#include <sys/mman.h>

static char *start;

#if defined(PTMALLOC)

#include <malloc.h>
#include <stdlib.h>
#include <unistd.h>

#define MALLOC malloc
#define FREE free
#define REALLOC realloc
#define ALIGNED memalign
#define ZEROED(size) calloc(1, size)
#define TRIM malloc_trim

static void begin(void) {
    static char input[1 << 16], output[1 << 16]; /* else stdio would take them from the heap */
    setvbuf(stdin, input, _IOFBF, sizeof input);
    setvbuf(stdout, output, _IOFBF, sizeof output);
    start = sbrk(0);
}

static long offset_of(char *block) {
    return block >= start && block < (char *)sbrk(0) ? block - start : -1;
}

#else

static char *top;
#define ZEROED(size) NULL
#define TRIM(pad) 0

static void begin(void) {
    start = top = mmap(NULL, 1 << 26, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
}

static long offset_of(char *block) { return block - start; }

static char *moved(long n) {
    char *old = top;
    top += n;
    return old;
}

#if defined(KR)

char *original_sbrk(int n) { return moved(n); }
void *original_malloc(unsigned), original_free(void *);
#define MALLOC(size) original_malloc(size)
#define FREE original_free
#define REALLOC(block, size) NULL
#define ALIGNED(align, size) NULL

#elif defined(DLMALLOC)

void *sbrk(intptr_t n) { return moved(n); }
void *dlmalloc(size_t), *dlrealloc(void *, size_t), *dlmemalign(size_t, size_t), dlfree(void *);
#define MALLOC dlmalloc
#define FREE dlfree
#define REALLOC dlrealloc
#define ALIGNED dlmemalign

#elif defined(TLSF)

#include "tlsf.h"

/* One pool of the size that our tlsf takes first; its payloads are multiples of 16, as ours. */
#define POOL 237568
static char control[1 << 16];
static tlsf_t heap(void) {
    static tlsf_t made;
    if (made == NULL) {
        made = tlsf_create(control);
        tlsf_add_pool(made, start + 8, POOL - 8);
    }
    return made;
}
#define MALLOC(size) tlsf_malloc(heap(), size)
#define FREE(block) tlsf_free(heap(), block)
#define REALLOC(block, size) tlsf_realloc(heap(), block, size)
#define ALIGNED(align, size) NULL

#endif
#endif

static char *made(char call, char *old, long align, long size) {
    switch (call) {
    case 'r':
        return REALLOC(old, size);
    case 'a':
        return ALIGNED(align, size);
    case 'c':
        return ZEROED(size);
    default:
        return MALLOC(size);
    }
}

int main(void) {
    static char *blocks[100000];
    char call;
    long count = 0, which, size;
    begin();
    while (scanf(" %c %ld %ld", &call, &which, &size) == 3) {
        if (call == 'f') {
            FREE(blocks[which]);
            continue;
        }
        if (call == 't') {
            TRIM(which);
            puts("0");
            continue;
        }
        char **block = &blocks[call == 'r' ? which : count++];
        *block = made(call, *block, which, size);
        printf("%ld\n", offset_of(*block));
    }
    return 0;
}
