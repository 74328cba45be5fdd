/* Two threads whose calls overlap, calls that fail, and one whose result ltrace cannot see. */
#include <pthread.h>
#include <stdlib.h>

static void *worker(void *unused) {
    for (int row = 0; row < 8; row++) free(malloc(100 + row));
    return unused;
}

int main(void) {
    pthread_t threads[2];
    void *block;
    for (int each = 0; each < 2; each++) pthread_create(&threads[each], NULL, worker, NULL);
    for (int each = 0; each < 2; each++) pthread_join(threads[each], NULL);
    if (posix_memalign(&block, 64, 10) == 0) free(block);
    block = malloc(-1000);
    return block != NULL;
}
