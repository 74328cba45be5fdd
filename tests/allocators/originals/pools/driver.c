/* Calls of TLSF on pools, one on a line of standard input, and what each gives.

     n POOL SIZE     a pool of that number, at POOL * 64 KiB          d POOL 0       its end: 1, or 0 if a block is live
     m 0 SIZE        a block of its own number: 0, 1, 2 ...           r BLOCK SIZE   the block of that number, resized
     f BLOCK 0       and freed                                        w POOL 0       bytes in use, free bytes, faults

   The original is linked with this file: tools/record_pools.py does so. Its pools begin 24 bytes later than heapwright's,
   which have a record there, so that both have their first block at the same place. -1 stands for null, and for a call on a
   pool that is there already or is not. */

#include <stddef.h>
#include <stdio.h>
#include <sys/mman.h>

#include "tlsf.h"

enum { STEP = 1 << 16, LATER = 24 };

static char control[1 << 16], *start;
static pool_t pools[10];
static int is_there[10];
static long used, unused;

static void visit(void *block, size_t size, int is_used, void *argument) { *(is_used ? &used : &unused) += size; }

static void walk(pool_t pool) {
    used = unused = 0;
    tlsf_walk_pool(pool, visit, NULL);
}

static int begin(tlsf_t tlsf, long number, long size) {
    if (is_there[number])
        return -1;
    pools[number] = tlsf_add_pool(tlsf, start + number * STEP + LATER, size - LATER);
    is_there[number] = 1;
    return 1;
}

static int end(tlsf_t tlsf, long number) {
    if (!is_there[number])
        return -1;
    walk(pools[number]);
    if (used != 0)
        return 0;
    tlsf_remove_pool(tlsf, pools[number]);
    is_there[number] = 0;
    return 1;
}

static void look(tlsf_t tlsf, long number) {
    if (is_there[number]) {
        walk(pools[number]);
        printf(" %ld %ld %d", used, unused, tlsf_check_pool(pools[number]) + tlsf_check(tlsf));
    }
}

int main(void) {
    char *blocks[4000], call;
    long count = 0, which, size;
    tlsf_t tlsf = tlsf_create(control);
    start = mmap(NULL, 10 * STEP, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    while (scanf(" %c %ld %ld", &call, &which, &size) == 3) {
        if (call == 'n')
            printf(" %d", begin(tlsf, which, size));
        else if (call == 'd')
            printf(" %d", end(tlsf, which));
        else if (call == 'w')
            look(tlsf, which);
        else if (call == 'f')
            tlsf_free(tlsf, blocks[which]);
        else {
            char *block = call == 'm' ? tlsf_malloc(tlsf, size) : tlsf_realloc(tlsf, blocks[which], size);
            if (call == 'm' || block != NULL)
                blocks[call == 'm' ? count++ : which] = block;
            printf(" %ld", block == NULL ? -1 : (long)(block - start));
        }
        printf("\n");
    }
    return 0;
}
