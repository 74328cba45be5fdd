/* A server that forgets its answers: each request leaves one behind. No malloc can help it.
 *
 *     cc -g -O1 -o answers examples/memory/answers.c && heapwright advise -- ./answers
 *
 * Nothing points at the forgotten answers. `heapwright advise` names the function that asked for them.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { REQUESTS = 60000, ANSWER = 700, SCRATCH = 3000, IDLE = 700000 };

static char *volatile answer, *volatile scratch;

static void __attribute__((noinline)) handle(void)
{
    answer = malloc(ANSWER);
    memset(answer, 1, ANSWER);
    scratch = malloc(SCRATCH);
    free(scratch);
}

int main(void)
{
    for (int request = 0; request < REQUESTS; request++)
        handle();
    usleep(IDLE);
    return 0;
}
