/* Many threads, one after the other and a few at a time, that allocate and free. Status 42 says that the last ones took
   no more memory than the first: what a thread leaves, the next one gets. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { AT_ONCE = 4, FIRST = 20, ALL = 150, SPARE = 4 << 20 };

static void *work(void *unused) {
    void *blocks[50];
    (void)unused;
    for (int i = 0; i < 50; i++) blocks[i] = memset(malloc(100 + 40 * i), 1, 100);
    for (int i = 0; i < 50; i++) free(blocks[i]);
    return NULL;
}

static long resident(void) {
    char text[100] = "";
    int file = open("/proc/self/statm", O_RDONLY);
    if (read(file, text, sizeof text - 1) <= 0) _exit(3);
    close(file);
    return 4096 * strtol(strchr(text, ' '), NULL, 10);
}

int main(void) {
    pthread_t threads[AT_ONCE];
    long first = 0;
    alarm(20);
    for (int round = 0; round < ALL; round++) {
        for (int i = 0; i < AT_ONCE; i++)
            if (pthread_create(&threads[i], NULL, work, NULL)) return 2;
        for (int i = 0; i < AT_ONCE; i++) pthread_join(threads[i], NULL);
        if (round == FIRST) first = resident();
    }
    return resident() < first + SPARE ? 42 : 1;
}
