/* twice SIZE: frees a block of SIZE bytes twice; prints its address first. */
#include <stdlib.h>
#include <stdio.h>
#include <unistd.h>

int main(int argc, char **argv) {
    size_t size = argc > 1 ? strtoul(argv[1], 0, 10) : 1;
    char said[32];
    alarm(10);
    char *volatile block = malloc(size), *volatile next = malloc(size);
    if (write(1, said, snprintf(said, sizeof said, "%p\n", block)) < 0) return 3;
    free(block);
    free(block);
    (void)next;
    return 0;
}
