/* A large heap, to see what a look costs: N blocks of 16 to 375 bytes, of which one in five stays.
 *
 *     cc -O1 -o large examples/memory/large.c && ./large 10000000
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    long count = argc > 1 ? atol(argv[1]) : 1000000;
    char **blocks = malloc(count * sizeof *blocks);
    unsigned state = 1;
    for (long i = 0; i < count; i++) {
        state = state * 1103515245 + 12345;
        blocks[i] = memset(malloc(16 + (state >> 8) % 360), 'x', 16);
    }
    for (long i = 0; i < count; i++)
        if (i % 5)
            free(blocks[i]);
    printf("ready: process %d\n", (int)getpid());
    fflush(stdout);
    return getchar() == EOF && blocks == NULL;
}
