/* What dlmalloc.h declares, used as it says. */

#include "heapwright.h"

#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KIB ((size_t)1 << 10)

static int failures;

static void hold(int holds, const char *what) {
    if (!holds) {
        printf("does not hold: %s\n", what);
        failures++;
    }
}
#define HOLD(condition) hold(condition, #condition)

/* --- the program's heap */

static void limits(void) {
    HOLD(malloc_footprint() > 0 && malloc_max_footprint() >= malloc_footprint());
    HOLD(malloc_footprint_limit() == SIZE_MAX);
    size_t limit = malloc_set_footprint_limit(malloc_footprint() + 1);
    HOLD(limit == malloc_footprint() + 4 * KIB && malloc_footprint_limit() == limit);
    errno = 0;
    HOLD(malloc(300 * KIB) == NULL && errno == ENOMEM);
    HOLD(malloc_set_footprint_limit(SIZE_MAX) == 0);
    void *large = malloc(300 * KIB);
    HOLD(large != NULL);
    free(large);
}

static void options(void) {
    HOLD(mallopt(M_GRANULARITY, 5000) == 0 && mallopt(M_GRANULARITY, 64 * KIB) == 1);
    mspace space = create_mspace(0, 0);
    HOLD(mspace_footprint(space) == 64 * KIB);
    HOLD(destroy_mspace(space) == 64 * KIB);
    HOLD(mspace_mallopt(M_GRANULARITY, 4 * KIB) == 1 && mallopt(99, 1) == 0);
}

static void many_at_once(void) {
    size_t sizes[] = {1, 500, 40};
    void *places[3], **array = independent_comalloc(3, sizes, places);
    HOLD(array == places);
    for (int i = 0; i < 3; i++)
        memset(places[i], i, sizes[i]);
    HOLD(*(char *)places[1] == 1 && malloc_usable_size(places[1]) >= 500);
    HOLD(bulk_free(places, 3) == 0 && places[0] == NULL && places[2] == NULL);
    array = independent_calloc(10, 100, NULL);
    for (int i = 0; i < 10; i++)
        for (int j = 0; j < 100; j++)
            HOLD(((char *)array[i])[j] == 0);
    HOLD(realloc_in_place(array[3], 104) == array[3] && realloc_in_place(array[3], 4000) == NULL);
    bulk_free(array, 10);
    free(array);
    errno = 0;
    HOLD(independent_calloc(SIZE_MAX / 2, 100, NULL) == NULL && errno == ENOMEM);
}

struct sums {
    size_t chunks, used;
};

static void add(void *start, void *end, size_t used, void *argument) {
    struct sums *sums = (struct sums *)argument;
    HOLD((char *)start < (char *)end);
    sums->chunks++;
    sums->used += used;
}

static void inspection(void) {
    struct sums before = {0, 0}, after = {0, 0};
    malloc_inspect_all(add, &before);
    void *volatile block = malloc(1000);
    malloc_inspect_all(add, &after);
    HOLD(before.chunks > 0 && after.used == before.used + malloc_usable_size(block));
    free(block);
}

/* --- spaces */

static void a_space(mspace space) {
    size_t empty = mspace_footprint(space);
    char *block = (char *)mspace_malloc(space, 100), *other = (char *)mspace_calloc(space, 10, 10);
    HOLD(block != NULL && other != NULL && other[99] == 0 && mspace_usable_size(block) >= 100);
    strcpy(block, "a space");
    block = (char *)mspace_realloc(space, block, 5000);
    HOLD(strcmp(block, "a space") == 0);
    HOLD(mspace_realloc_in_place(space, other, SIZE_MAX) == NULL);
    HOLD((uintptr_t)mspace_memalign(space, 512, 30) % 512 == 0);
    void *large = mspace_malloc(space, 600 * KIB);
    HOLD(mspace_footprint(space) >= empty + 600 * KIB && mspace_max_footprint(space) >= mspace_footprint(space));
    mspace_free(space, large);
    struct mallinfo2 info = mspace_mallinfo(space);
    HOLD(info.uordblks + info.fordblks == mspace_footprint(space) && info.usmblks == mspace_max_footprint(space));
    void **array = mspace_independent_calloc(space, 5, 50, NULL);
    HOLD(mspace_bulk_free(space, array, 5) == 0);
    mspace_free(space, array);
    struct sums sums = {0, 0};
    mspace_inspect_all(space, add, &sums);
    HOLD(sums.chunks > 3 && sums.used > 5200);
    HOLD(mspace_set_footprint_limit(space, 1) == 4 * KIB && mspace_footprint_limit(space) == 4 * KIB);
    HOLD(mspace_malloc(space, 900 * KIB) == NULL);
}

static void spaces(void) {
    static char base[64 * KIB];
    mspace first = create_mspace(0, 1), second = create_mspace(100 * KIB, 0);
    mspace third = create_mspace_with_base(base, sizeof base, 1);
    HOLD((char *)third >= base && (char *)third < base + sizeof base);
    HOLD(create_mspace_with_base(base, 1000, 0) == NULL && create_mspace(SIZE_MAX, 0) == NULL);
    a_space(first), a_space(second), a_space(third);
    HOLD(mspace_track_large_chunks(second, 1) == 0 && mspace_track_large_chunks(second, 1) == 1);
    HOLD(destroy_mspace(first) > 0 && destroy_mspace(second) >= 100 * KIB);
    destroy_mspace(third);
    memset(base, 7, sizeof base);
}

static void *work(void *space) {
    for (int i = 0; i < 20000; i++) {
        size_t size = i % 700 + 1;
        char *block = (char *)mspace_malloc(space, size);
        memset(block, size & 255, size);
        HOLD(block[size - 1] == (char)(size & 255));
        mspace_free(space, block);
    }
    return NULL;
}

static void threads_share_a_space(void) {
    mspace space = create_mspace(0, 1);
    pthread_t crew[4];
    for (int i = 0; i < 4; i++)
        pthread_create(&crew[i], NULL, work, space);
    for (int i = 0; i < 4; i++)
        pthread_join(crew[i], NULL);
    struct sums sums = {0, 0};
    mspace_inspect_all(space, add, &sums);
    HOLD(sums.used < 2 * KIB);
    destroy_mspace(space);
}

int main(void) {
    free(malloc(1));
    limits();
    options();
    many_at_once();
    inspection();
    spaces();
    threads_share_a_space();
    printf("%d\n", failures);
    return failures != 0;
}
