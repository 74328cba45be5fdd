/* While another thread holds standard error, the program asks for statistics; then it frees a block twice. */
#include <malloc.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static sem_t is_held;

static void *hold(void *unused) {
    flockfile(stderr);
    sem_post(&is_held);
    pause();
    return unused;
}

int main(void) {
    pthread_t thread;
    char *volatile block = malloc(5000), *volatile next = malloc(5000);
    alarm(10);
    sem_init(&is_held, 0, 0);
    pthread_create(&thread, NULL, hold, NULL);
    sem_wait(&is_held);
    malloc_stats();
    free(block);
    free(block);
    malloc_trim(0);
    return next == NULL;
}
