/* Several threads: memory that changes hands, and threads that come and go. */
#include "check.h"

#include <stdatomic.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { TORTURERS = 8, TORTURES = 15000 };

/* --- work side by side ------------------------------------------------------ */

static void *torture_body(void *seed) {
    torture((uintptr_t)seed, TORTURES);
    return NULL;
}

/* C17 7.22.3 (paragraph on data races): allocation functions behave as though
 * they accessed only their arguments. */
static void random_work_in_threads(void) {
    pthread_t threads[TORTURERS];
    for (uintptr_t i = 0; i < TORTURERS; i++)
        threads[i] = start_thread(torture_body, (void *)(i + 2));
    for (unsigned i = 0; i < TORTURERS; i++)
        join_thread(threads[i]);
}

/* --- blocks that another thread frees --------------------------------------- */

enum { BATCHES = 3000, BATCH = 1000, SENDING = 6, SENT_GROWTH = 64 * MIB };

/* One batch at a time is handed over, so the live memory stays small. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool full;
    void *blocks[BATCH];
} mailbox = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void hand_over(void **from, void **to, bool full) {
    pthread_mutex_lock(&mailbox.lock);
    while (mailbox.full == full)
        pthread_cond_wait(&mailbox.changed, &mailbox.lock);
    memcpy(to, from, sizeof mailbox.blocks);
    mailbox.full = full;
    pthread_cond_signal(&mailbox.changed);
    pthread_mutex_unlock(&mailbox.lock);
}

static void fill_batch(void **blocks) {
    for (unsigned i = 0; i < BATCH; i++)
        memset(blocks[i] = must_malloc(16 + i % 112), 1, 16);
}

/* A malloc that asks the kernel each time sends as many as it can in SENDING seconds; then nulls. */
static void *send_batches(void *unused) {
    void *blocks[BATCH];
    time_t end = time(NULL) + SENDING;
    for (unsigned batch = 0; batch < BATCHES; batch++) {
        if (time(NULL) < end)
            fill_batch(blocks);
        else
            memset(blocks, 0, sizeof blocks);
        hand_over(blocks, mailbox.blocks, true);
    }
    return unused;
}

/* Memory freed by a thread that never allocates must find its way back. */
static void blocks_freed_elsewhere_are_reused(void) {
    void *blocks[BATCH];
    size_t before = resident_bytes();
    pthread_t sender = start_thread(send_batches, NULL);
    for (unsigned batch = 0; batch < BATCHES; batch++) {
        hand_over(mailbox.blocks, blocks, false);
        for (unsigned i = 0; i < BATCH; i++)
            free(blocks[i]);
        if (batch % 128 == 0)
            require(growth_since(before) < SENT_GROWTH, "resident memory grows by %zu bytes",
                    growth_since(before));
    }
    join_thread(sender);
    require(growth_since(before) < SENT_GROWTH, "resident memory grew by %zu bytes",
            growth_since(before));
}

/* --- threads that end before their blocks ----------------------------------- */

enum { GENERATIONS = 3000, OUTLIVING = 8, LEGACY = 16, CHURN_GROWTH = 32 * MIB };

static void *leave_a_legacy(void *generation) {
    void **legacy = must_malloc(LEGACY * sizeof *legacy);
    for (unsigned i = 0; i < LEGACY; i++)
        fill(legacy[i] = must_malloc(64 * (i + 1)), 64 * (i + 1), (uintptr_t)generation);
    return legacy;
}

static void free_legacy(void **legacy, uintptr_t generation) {
    for (unsigned i = 0; i < LEGACY; i++) {
        require(intact(legacy[i], 64 * (i + 1), generation), "a block lost its content");
        free(legacy[i]);
    }
    free(legacy);
}

/* What a dead thread kept for itself must be found again by the next ones. */
static void short_threads_leave_nothing_behind(void) {
    void *legacies[OUTLIVING] = {0};
    size_t before = resident_bytes();
    for (uintptr_t generation = 0; generation < GENERATIONS; generation++) {
        void **oldest = &legacies[generation % OUTLIVING];
        if (*oldest)
            free_legacy(*oldest, generation - OUTLIVING);
        pthread_join(start_thread(leave_a_legacy, (void *)generation), oldest);
    }
    size_t growth = growth_since(before);
    require(growth < CHURN_GROWTH, "%d threads left %zu bytes resident", GENERATIONS, growth);
}

/* --- destructors of thread-specific data ------------------------------------- */

enum { KEY_THREADS = 16, KEY_ROUNDS = 4, KEY_BYTES = 1000 };

static pthread_key_t key;
static atomic_uint destructor_calls;

struct keepsake {
    unsigned round;
    unsigned char bytes[KEY_BYTES];
};

static struct keepsake *new_keepsake(unsigned round) {
    struct keepsake *keepsake = must_malloc(sizeof *keepsake);
    keepsake->round = round;
    fill(keepsake->bytes, KEY_BYTES, round);
    return keepsake;
}

/* The heap may have taken its leave of this thread already: setting the key
 * again asks for another round, up to PTHREAD_DESTRUCTOR_ITERATIONS. */
static void replace_keepsake(void *value) {
    struct keepsake *old = value;
    require(intact(old->bytes, KEY_BYTES, old->round), "a value changed before its destructor");
    destructor_calls++;
    if (old->round < KEY_ROUNDS)
        pthread_setspecific(key, new_keepsake(old->round + 1));
    free(old);
}

static void *set_keepsake(void *unused) {
    pthread_setspecific(key, new_keepsake(1));
    return unused;
}

/* POSIX.1-2024 pthread_key_create(). */
static void allocation_in_key_destructors(void) {
    require(pthread_key_create(&key, replace_keepsake) == 0, "pthread_key_create failed");
    for (unsigned round = 0; round < KEY_THREADS; round++) {
        pthread_t first = start_thread(set_keepsake, NULL);
        join_thread(start_thread(set_keepsake, NULL));
        join_thread(first);
    }
    require(destructor_calls == 2 * KEY_THREADS * KEY_ROUNDS, "%u destructor calls, not %d",
            destructor_calls, 2 * KEY_THREADS * KEY_ROUNDS);
}

/* --- a stack that is hardly there --------------------------------------------- */

static void *use_every_function(void *unused) {
    for (size_t size = 1; size <= MIB; size *= 10) {
        char *block = must_malloc(size);
        memset(block, 1, size);
        block = opaque(realloc(block, 2 * size));
        char *zeroed = opaque(calloc(2, size)), *aligned = must_malloc_aligned(256, size);
        require(block && zeroed, "an allocation of %zu bytes failed", size);
        memset(aligned, 1, size);
        free(block);
        free(zeroed);
        free(aligned);
    }
    return unused;
}

/* POSIX.1-2024 <limits.h> PTHREAD_STACK_MIN; one page more for the body itself. */
static void smallest_stack(void) {
    pthread_attr_t attributes;
    pthread_t thread;
    size_t size = ((size_t)sysconf(_SC_THREAD_STACK_MIN) + 4096 + page_size() - 1) &
                  ~(page_size() - 1);
    require(pthread_attr_init(&attributes) == 0, "pthread_attr_init failed");
    require(pthread_attr_setstacksize(&attributes, size) == 0, "a stack of %zu is refused", size);
    int error = pthread_create(&thread, &attributes, use_every_function, NULL);
    require(error == 0, "pthread_create with a stack of %zu gave %d", size, error);
    join_thread(thread);
}

/* --- exit while others allocate ------------------------------------------------ */

enum { EXITS = 20 };

static void exit_amid_allocation(unsigned round) {
    start_allocating_threads(3);
    pause_microseconds(500 * (round % 6));
    exit(0);
}

/* C17 7.22.4.4: exit runs handlers and flushes streams; the other threads go on
 * allocating meanwhile. */
static void exit_while_threads_allocate(void) {
    for (unsigned round = 0; round < EXITS; round++) {
        pid_t child = start_child();
        if (child == 0)
            exit_amid_allocation(round);
        require_clean_exit(child, "a process whose threads allocate during exit");
    }
}

/* --- cancellation --------------------------------------------------------------- */

enum { CANCELLATIONS = 60 };

static _Thread_local volatile bool inside_allocator;

static void note_cancellation(void *unused) {
    (void)unused;
    require(!inside_allocator, "the thread was cancelled inside an allocation function");
}

static void *allocate_until_cancelled(void *started) {
    pthread_cleanup_push(note_cancellation, NULL);
    for (size_t size = 1;; size = size * 3 % 300007) {
        inside_allocator = true;
        free(must_malloc(size));
        inside_allocator = false;
        *(atomic_bool *)started = true;
        pthread_testcancel();
    }
    pthread_cleanup_pop(0);
    return NULL;
}

static void cancel_one(unsigned round) {
    atomic_bool started = false;
    void *result;
    pthread_t thread = start_thread(allocate_until_cancelled, &started);
    while (!started)
        sched_yield();
    pause_microseconds(20 * (round % 8));
    pthread_cancel(thread);
    pthread_join(thread, &result);
    require(result == PTHREAD_CANCELED, "a cancelled thread returned");
    free(must_malloc(1000));
}

/* POSIX.1-2024 2.9.5.2: malloc and free are not among the cancellation points. */
static void cancel_an_allocating_thread(void) {
    for (unsigned round = 0; round < CANCELLATIONS; round++)
        cancel_one(round);
}

const struct check checks[] = {
    {"torture_mt", random_work_in_threads},
    {"xthread_bound", blocks_freed_elsewhere_are_reused},
    {"thread_churn", short_threads_leave_nothing_behind},
    {"tls_dtor", allocation_in_key_destructors},
    {"small_stack", smallest_stack},
    {"exit_race", exit_while_threads_allocate},
    {"cancel", cancel_an_allocating_thread},
    {NULL, NULL},
};
