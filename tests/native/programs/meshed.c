/* meshed MIB LEAST MOST KEEP: blocks of LEAST to MOST bytes, MIB in all, of which one in KEEP stays, by lot.
 * Prints what is resident in KiB, more than at first: when most is free, after malloc_trim, and after all is free.
 * Between the last two it goes on with the heap in a forked child, then in a thread, and checks each byte. */
#include "memory.h"

#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>

struct block {
    unsigned char *start;
    size_t size;
    unsigned char byte;
};

static struct block *block;
static size_t n;

/* The heap's resident memory in KiB. A frame that several pages of this process lead to counts once. */
static long held(void) {
#ifdef SHARED_ALONE
    return resident_as("Pss_Shmem:");
#else
    return resident_as("Pss_Anon:") + resident_as("Pss_Shmem:");
#endif
}

static void write_to(struct block *each, size_t size, unsigned char byte) {
    each->size = size;
    each->byte = byte;
    memset(each->start, byte, size);
}

static void give(size_t i, size_t size) {
    block[i].start = malloc(size);
    write_to(&block[i], size, 1 + below(255));
}

static void require_all(const char *where) {
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; block[i].start && k < block[i].size; k++)
            if (block[i].start[k] != block[i].byte) {
                printf("%s: byte %zu of block %zu at %p\n", where, k, i, (void *)block[i].start);
                fflush(stdout);
                _exit(1);
            }
}

static void churn(size_t times, size_t least, size_t most) {
    for (size_t k = 0; k < times; k++) {
        size_t i = below(n), size = least + below(most - least + 1);
        if (!block[i].start) {
            give(i, size);
        } else if (below(3) == 0) {
            block[i].start = realloc(block[i].start, size);
            write_to(&block[i], size, 1 + below(255));
        } else if (below(2) == 0) {
            free(block[i].start);
            block[i].start = NULL;
        } else {
            write_to(&block[i], block[i].size, 1 + below(255));
        }
        if (k % (times / 4) == times / 8)
            malloc_trim(0);
    }
    require_all("churn");
}

static void *other(void *most) {
    churn(20000, 16, (size_t)most);
    return NULL;
}

/* The parent and its child change all their blocks at the same time, and neither sees the other's bytes. */
static int fork_and_change(size_t most) {
    pid_t child = fork();
    for (size_t i = 0; i < n; i++)
        if (block[i].start)
            write_to(&block[i], block[i].size, child ? 3 : 4);
    require_all(child ? "parent" : "child");
    churn(20000, 16, most);
    if (child == 0)
        _exit(0);
    int status;
    return waitpid(child, &status, 0) == child && status == 0;
}

int main(int count, char **arguments) {
    if (count != 5)
        return 2;
    size_t total = atol(arguments[1]) << 20, least = atol(arguments[2]), most = atol(arguments[3]);
    size_t keep = atol(arguments[4]);
    block = mmap(NULL, (total / least + 1) * sizeof *block, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(block, 0, (total / least + 1) * sizeof *block);
    long before = held();
    for (size_t sum = 0; sum < total; sum += block[n++].size)
        give(n, least + below(most - least + 1));
    for (size_t i = 0; i < n; i++)
        if (below(keep)) {
            free(block[i].start);
            block[i].start = NULL;
        }
    long scattered = held();
    for (int file = 3; file < 1024; file++)
        close(file); /* as daemons do: the heap may not need one */
    malloc_trim(0);
    long trimmed = held();
    require_all("trim");
    if (!fork_and_change(most))
        return 1;
    require_all("after the child");
    churn(20000, least, most);
    pthread_t thread;
    pthread_create(&thread, NULL, other, (void *)most);
    pthread_join(thread, NULL);
    require_all("after the thread");
    for (size_t i = 0; i < n; i++)
        free(block[i].start);
    malloc_trim(0);
    printf("%ld %ld %ld\n", scattered - before, trimmed - before, held() - before);
    return 0;
}
