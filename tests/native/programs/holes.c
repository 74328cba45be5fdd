/* holes MIB LEAST MOST KEEP: blocks of LEAST to MOST bytes, MIB in all and written to, of which every KEEPth stays.
 * Prints what is resident in KiB, more than at first: when all is live, and when malloc_trim has given back. */
#include "memory.h"

#include <malloc.h>
#include <stdio.h>
#include <sys/mman.h>

int main(int count, char **arguments) {
    if (count != 5)
        return 2;
    size_t total = atol(arguments[1]) << 20, least = atol(arguments[2]), most = atol(arguments[3]);
    size_t keep = atol(arguments[4]), blocks = total / least + 1, n = 0;
    char **block = mmap(NULL, blocks * sizeof *block, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(block, 0, blocks * sizeof *block);
    long before = resident();
    for (size_t sum = 0; sum < total && n < blocks; n++) {
        size_t size = least + below(most - least + 1);
        block[n] = malloc(size);
        memset(block[n], 1 + n % 100, size);
        sum += size;
    }
    long full = resident();
    for (size_t i = 0; i < n; i++)
        if (i % keep)
            free(block[i]);
    malloc_trim(0);
    long trimmed = resident();
    for (size_t i = 0; i < n; i += keep)
        if (block[i][0] != (char)(1 + i % 100))
            return 1;
    printf("%ld %ld\n", full - before, trimmed - before);
    return 0;
}
