/* A library that counts what passes through it to the malloc behind it. build: cc -shared -fPIC wrapper.c -o wrapper.so */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

static long live;

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

void *malloc(size_t size) {
    void *block = NEXT(malloc)(size);
    live += block != NULL;
    return block;
}

void *realloc(void *old, size_t size) {
    void *block = NEXT(realloc)(old, size);
    live += block && !old;
    return block;
}

void free(void *block) {
    live -= block != NULL;
    NEXT(free)(block);
}
