/* Object caches from C: what heapwright.h declares, used as it says, by several threads. */

#include "heapwright.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { THREADS = 4, ROUNDS = 300, HELD = 200, SIZE = 200, PART = 1000 };

static int failures;

static void hold(int holds, const char *what) {
    if (!holds) {
        printf("does not hold: %s\n", what);
        failures++;
    }
}
#define HOLD(condition) hold(condition, #condition)

struct session {
    struct session *self;
    pthread_mutex_t lock;
    unsigned char *part;
    atomic_int users;
};

static atomic_long constructed, destructed, wrong;
static atomic_int refuse;

static int construct(void *object, size_t size) {
    struct session *session = object;
    wrong += size != SIZE;
    if (refuse)
        return 1;
    memset(object, 0, size);
    session->self = session;
    session->part = malloc(PART);
    if (session->part == NULL)
        return 1;
    memset(session->part, 7, PART);
    pthread_mutex_init(&session->lock, NULL);
    constructed++;
    return 0;
}

static void destruct(void *object, size_t size) {
    struct session *session = object;
    wrong += size != SIZE || session->self != session || session->users != 0;
    pthread_mutex_destroy(&session->lock);
    free(session->part);
    session->self = NULL;
    destructed++;
}

static struct heapwright_cache *cache;

static void use(struct session *session) {
    pthread_mutex_lock(&session->lock);
    wrong += session->self != session || session->users++ != 0 || session->part[PART - 1] != 7;
    session->users--;
    pthread_mutex_unlock(&session->lock);
}

/* Hold a number of sessions that rises and falls, and cause reaps in between. */
static void *work(void *argument) {
    struct session *held[HELD];
    unsigned seed = (unsigned)(uintptr_t)argument;
    for (int round = 0; round < ROUNDS; round++) {
        int count = rand_r(&seed) % HELD;
        for (int i = 0; i < count; i++) {
            held[i] = heapwright_cache_alloc(cache);
            use(held[i]);
        }
        if (round % 20 == 0)
            heapwright_cache_reap(cache);
        if (round % 30 == 7)
            heapwright_trim(0);
        for (int i = 0; i < count; i++) {
            use(held[i]);
            heapwright_cache_free(cache, held[i]);
        }
    }
    return NULL;
}

static void threads_share_a_cache(void) {
    pthread_t threads[THREADS];
    cache = heapwright_cache_create("session", SIZE, 64, construct, destruct);
    HOLD(cache != NULL);
    for (intptr_t i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, work, (void *)(i + 1));
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    HOLD(wrong == 0);
    HOLD(constructed > HELD / 2 && constructed < THREADS * ROUNDS * HELD / 4);
    HOLD(destructed > 0);
    HOLD(heapwright_cache_destroy(cache) == 0);
    HOLD(constructed == destructed && wrong == 0);
}

static void an_object_stays_constructed(void) {
    cache = heapwright_cache_create("session", SIZE, 64, construct, destruct);
    long before = constructed;
    for (int i = 0; i < 1000; i++) {
        struct session *session = heapwright_cache_alloc(cache);
        HOLD((uintptr_t)session % 64 == 0);
        use(session);
        heapwright_cache_free(cache, session);
    }
    HOLD(constructed == before + 1);
    HOLD(heapwright_cache_destroy(cache) == 0);
}

static void the_end_is_refused_while_objects_are_in_use(void) {
    cache = heapwright_cache_create(NULL, SIZE, 16, construct, destruct);
    struct session *first = heapwright_cache_alloc(cache), *second = heapwright_cache_alloc(cache);
    HOLD(heapwright_cache_destroy(cache) == 2);
    use(first);
    heapwright_cache_free(cache, second);
    HOLD(heapwright_cache_destroy(cache) == 1);
    heapwright_cache_free(cache, first);
    HOLD(heapwright_cache_destroy(cache) == 0);
    HOLD(constructed == destructed);
}

static void a_constructor_may_fail(void) {
    cache = heapwright_cache_create("session", SIZE, 16, construct, destruct);
    refuse = 1;
    HOLD(heapwright_cache_alloc(cache) == NULL);
    refuse = 0;
    void *object = heapwright_cache_alloc(cache);
    HOLD(object != NULL);
    heapwright_cache_free(cache, object);
    HOLD(heapwright_cache_destroy(cache) == 0);
    HOLD(constructed == destructed);
}

static void plain_objects_keep_their_bytes(void) {
    cache = heapwright_cache_create("plain", 24, 0, NULL, NULL);
    char *object = heapwright_cache_alloc(cache);
    strcpy(object, "as it was left");
    heapwright_cache_free(cache, object);
    HOLD(heapwright_cache_alloc(cache) == object && strcmp(object, "as it was left") == 0);
    heapwright_cache_free(cache, object);
    HOLD(heapwright_cache_destroy(cache) == 0);
    HOLD(heapwright_cache_create("none", 0, 16, NULL, NULL) == NULL);
    HOLD(heapwright_cache_create("huge", SIZE_MAX, 16, NULL, NULL) == NULL);
    HOLD(heapwright_cache_create("huge", 16, SIZE_MAX / 2 + 1, NULL, NULL) == NULL);
}

static void places_are_used_again(void) {
    for (int i = 0; i < 100; i++) {
        struct heapwright_cache *made = heapwright_cache_create("brief", 100, 16, NULL, NULL);
        HOLD(made != NULL);
        void *object = heapwright_cache_alloc(made);
        HOLD(heapwright_cache_destroy(made) == 1);
        heapwright_cache_free(made, object);
        HOLD(heapwright_cache_destroy(made) == 0);
    }
}

int main(void) {
    if (heapwright_cache_create == NULL) {
        printf("no caches\n");
        return 3;
    }
    an_object_stays_constructed();
    threads_share_a_cache();
    the_end_is_refused_while_objects_are_in_use();
    a_constructor_may_fail();
    plain_objects_keep_their_bytes();
    places_are_used_again();
    printf("%d\n", failures);
    return failures != 0;
}
