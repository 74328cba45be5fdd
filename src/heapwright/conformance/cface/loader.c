/* The dynamic loader: libraries that come and go, thread-local storage made on
 * demand, auditing, and two ways of loading that mix up heaps.
 */
#include "check.h"

#include <dlfcn.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

static void *open_beside(const char *name, int flags) {
    char path[PATH_MAX];
    sibling(name, path);
    void *library = dlopen(path, flags);
    require(library, "dlopen: %s", dlerror());
    return library;
}

static void *find(void *library, const char *name) {
    void *address = dlsym(library, name);
    require(address, "dlsym: %s", dlerror());
    return address;
}

/* --- thread-local storage made on demand --------------------------------------------- */

static int (*touch_thread_storage)(int);

static void *touch_in_thread(void *number) {
    int expected = (int)(intptr_t)number;
    require(touch_thread_storage(expected) == expected, "thread-local storage was shared");
    torture((uintptr_t)number, 300);
    require(touch_thread_storage(0) == expected, "thread-local storage was changed");
    return NULL;
}

/* glibc 2.39 NEWS: the loader takes such storage from malloc, in whichever thread
 * touches it first. */
static void thread_storage_of_a_late_library(void) {
    enum { THREADS = 50 };
    pthread_t threads[THREADS];
    void *library = open_beside("dso.so", RTLD_NOW);
    touch_thread_storage = (int (*)(int))find(library, "touch_thread_storage");
    for (intptr_t i = 0; i < THREADS; i++)
        threads[i] = start_thread(touch_in_thread, (void *)(i + 1));
    for (unsigned i = 0; i < THREADS; i++)
        join_thread(threads[i]);
    dlclose(library);
}

/* --- libraries that come and go --------------------------------------------------------- */

static void open_and_close(void) {
    void *library = open_beside("dso.so", RTLD_NOW);
    find(library, "touch_thread_storage");
    require(!dlsym(library, "no_such_symbol"), "dlsym found what is not there");
    require(dlerror(), "dlerror is silent about a missing symbol");
    require(dlclose(library) == 0, "dlclose: %s", dlerror());
}

static void open_what_is_missing(void) {
    require(!dlopen("no-such-library.so", RTLD_NOW), "dlopen found what is not there");
    require(dlerror(), "dlerror is silent about a missing library");
}

/* The loader allocates under its own lock, and frees its messages per thread. */
static void libraries_come_and_go(void) {
    start_allocating_threads(2);
    for (unsigned i = 0; i < 150; i++) {
        open_and_close();
        open_what_is_missing();
    }
    stop_allocating_threads();
}

/* --- RTLD_DEEPBIND ------------------------------------------------------------------------ */

/* Linux man-pages dlopen(3): a library opened this way prefers its own
 * dependencies, hence the C library's free, for memory of the preloaded heap. */
static void deep_binding(void) {
    void *library = open_beside("dso.so", RTLD_NOW | RTLD_DEEPBIND);
    void (*free_there)(void *) = (void (*)(void *))find(library, "free_there");
    char *(*copy_there)(const char *) = (char *(*)(const char *))find(library, "copy_there");
    for (unsigned i = 0; i < 100; i++) {
        free_there(strdup("allocated by the C library for the program"));
        free_there(must_malloc(100));
        free(copy_there("allocated by the C library for the other library"));
    }
}

/* --- LD_AUDIT -------------------------------------------------------------------------------- */

static void audit_the_loader(void) {
    char path[PATH_MAX];
    sibling("audit.so", path);
    setenv("LD_AUDIT", path, 1);
}

/* Linux man-pages rtld-audit(7).  The audit library brings a second C library,
 * which leaves less room for static thread-local storage: a heap that wants
 * too much of it is not loaded. */
static void run_under_audit(void) { run_step("_audited", audit_the_loader); }

static void work_under_audit(void) {
    start_allocating_threads(2);
    torture(14, 10000);
    open_and_close();
    stop_allocating_threads();
}

/* --- loading the heap late ----------------------------------------------------------- */

static void forget_preloading(void) { unsetenv("LD_PRELOAD"); }

/* Plug-ins are loaded into programs that already have a heap: the static
 * thread-local storage must fit then, and earlier blocks stay with their heap. */
static void load_the_heap_late(void) {
    if (!checked_library)
        cannot_try("there is no library to load");
    run_step("_loaded_late", forget_preloading);
}

static void *use_late_heap(void *library) {
    void *(*late_malloc)(size_t) = (void *(*)(size_t))find(library, "malloc");
    void (*late_free)(void *) = (void (*)(void *))find(library, "free");
    for (size_t size = 1; size < 3000; size += 7) {
        char *block = opaque(late_malloc(size));
        require(block, "malloc(%zu) of the late heap returned NULL", size);
        memset(block, 1, size);
        late_free(block);
    }
    return NULL;
}

static void work_beside_a_late_heap(void) {
    void *earlier = must_malloc(1000);
    void *library = dlopen(checked_library, RTLD_NOW | RTLD_LOCAL);
    require(library, "dlopen: %s", dlerror());
    use_late_heap(library);
    join_thread(start_thread(use_late_heap, library));
    free(earlier);
    torture(15, 2000);
}

const struct check checks[] = {
    {"tls_dso", thread_storage_of_a_late_library},
    {"dlopen_churn", libraries_come_and_go},
    {"deepm", deep_binding},
    {"aud", run_under_audit},
    {"_audited", work_under_audit},
    {"dlm", load_the_heap_late},
    {"_loaded_late", work_beside_a_late_heap},
    {NULL, NULL},
};
