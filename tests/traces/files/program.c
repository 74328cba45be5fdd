#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void *parse_row(size_t size) { return memset(malloc(size), 1, size); }

static void *worker(void *block) {
    free(block);
    return parse_row(300);
}

int main(void) {
    void *rows[5], *mine;
    pthread_t thread;
    for (int row = 0; row < 5; row++) rows[row] = parse_row(100);
    rows[0] = realloc(rows[0], 5000);
    usleep(30000);
    pthread_create(&thread, NULL, worker, rows[1]);
    pthread_join(thread, &mine);
    free(mine);
    free(rows[2]);
    free(calloc(7, 8));
    free(aligned_alloc(64, 128));
    free(NULL);
    return rows[3] == NULL;
}
