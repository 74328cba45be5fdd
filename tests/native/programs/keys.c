/* A library before which nobody gets one of the first keys for threads' data, whose places threads have from their
   start. build: cc -shared -fPIC keys.c -o keys.so */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>

enum { FIRST = 40 };

int pthread_key_create(pthread_key_t *key, void (*end)(void *)) {
    static int is_first = 1;
    int (*create)(pthread_key_t *, void (*)(void *)) = dlsym(RTLD_NEXT, "pthread_key_create");
    pthread_key_t taken;
    for (int i = 0; is_first && i < FIRST; i++) create(&taken, NULL);
    is_first = 0;
    return create(key, end);
}
