/* A program that leaks: each line on standard input makes 5000 blocks and forgets half of them.
 *
 *     cc -O1 -o leak examples/memory/leak.c && ./leak
 *
 * The other half stays in a list that `main` can reach. `heapwright inspect PID --leaks` finds the forgotten ones.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ROUND = 5000, SIZE = 200 };

struct kept {
    struct kept *next;
    char bytes[SIZE];
};

static struct kept *list;

static void __attribute__((noinline)) more(void)
{
    for (int i = 0; i < ROUND; i++) {
        struct kept *one = malloc(sizeof *one);
        char *forgotten = malloc(SIZE);
        memset(one->bytes, 0, SIZE);
        one->next = list;
        list = one;
        snprintf(forgotten, SIZE, "nobody will find me again: %d", i);
    }
}

int main(void)
{
    char line[64];
    more();
    printf("ready: process %d\n", (int)getpid());
    fflush(stdout);
    while (fgets(line, sizeof line, stdin)) {
        more();
        puts("more");
        fflush(stdout);
    }
    return 0;
}
