/* Patterns of live blocks, and what is resident before and after malloc_trim: see meshed.py.
 *
 * meshed robson MIB    Robson's adversary, which keeps blocks by their addresses; sizes double from 16 to 4096 bytes
 * meshed halves MIB    the same without addresses: it keeps every second block by birth
 * meshed lot MIB SIZE KEEP    blocks of SIZE bytes, of which one in KEEP stays, by lot
 *
 * Prints the live bytes, then in KiB and without what was resident at first: before the trim, after it, and after it as
 * VmRSS counts, where a frame counts once for each page that leads to it. Checks every live byte. */
#include "../tests/native/programs/memory.h"

#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>

enum { SMALLEST = 16, LARGEST = 4096 };

struct block {
    unsigned char *start;
    size_t size;
};

static struct block *block;
static size_t blocks, live, limit;

static long held(void) {
    return resident_as("Pss_Anon:") + resident_as("Pss_Shmem:");
}

static unsigned char byte_of(unsigned char *start) {
    return 1 + (uintptr_t)start / 16 % 251;
}

static void add(size_t size) {
    struct block new = {malloc(size), size};
    memset(new.start, byte_of(new.start), size);
    block[blocks++] = new;
    live += size;
}

static int covers(struct block each, size_t offset, size_t size) {
    return (offset - (uintptr_t)each.start) % size < each.size;
}

static size_t waste(size_t offset, size_t size) {
    size_t sum = 0;
    for (size_t i = 0; i < blocks; i++)
        sum += covers(block[i], offset, size) ? size - block[i].size : 0;
    return sum;
}

/* Keep blocks that cover an offset modulo `size`; if that is 0, every `every`th block, by lot if it is negative. */
static void cull(size_t size, size_t offset, long every) {
    size_t kept = 0;
    for (size_t i = 0; i < blocks; i++) {
        int stays = size ? covers(block[i], offset, size) : every > 0 ? i % every == 0 : below(-every) == 0;
        if (stays) {
            block[kept++] = block[i];
        } else {
            live -= block[i].size;
            free(block[i].start);
        }
    }
    blocks = kept;
}

static void fill(size_t size) {
    while (live + size <= limit)
        add(size);
}

static void adversary(int knows_addresses) {
    size_t offset = 0;
    fill(SMALLEST);
    for (size_t size = 2 * SMALLEST; size <= LARGEST; size *= 2) {
        if (knows_addresses && waste(offset + size / 2, size) > waste(offset, size))
            offset += size / 2;
        cull(knows_addresses ? size : 0, offset, 2);
        fill(size);
    }
}

static int is_intact(void) {
    for (size_t i = 0; i < blocks; i++)
        for (size_t k = 0; k < block[i].size; k++)
            if (block[i].start[k] != byte_of(block[i].start))
                return 0;
    return 1;
}

int main(int count, char **arguments) {
    if (count < 3)
        return 2;
    limit = (size_t)atol(arguments[2]) << 20;
    size_t bytes = limit / SMALLEST * 2 * sizeof *block;
    block = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(block, 0, bytes);
    long before = held();
    if (strcmp(arguments[1], "lot") == 0 && count == 5) {
        fill(atol(arguments[3]));
        cull(0, 0, -atol(arguments[4]));
    } else {
        adversary(strcmp(arguments[1], "robson") == 0);
    }
    long fragmented = held();
    malloc_trim(0);
    long trimmed = held();
    int intact = is_intact();
    printf("%zu %ld %ld %ld\n", live, fragmented - before, trimmed - before, resident_as("Rss:") - bytes / 1024);
    return !intact;
}
