/* A program that defines malloc, calloc, realloc and free itself, over an array. It says which function of the library
   gave or took something that is not its own. Status 42 says that all went well. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ROOM (1 << 22)
static _Alignas(4096) char heap[ROOM];
static size_t used = 16;
static long given, taken, foreign;

static int is_own(const void *block) { return (char *)block >= heap && (char *)block < heap + ROOM; }

void *malloc(size_t size) {
    if (size > ROOM || used + size + 32 > ROOM) return errno = ENOMEM, NULL;
    used += 16;
    char *block = heap + used;
    memcpy(block - 8, &size, 8);
    used += (size + 15) & ~15ul;
    given++;
    return block;
}

void free(void *block) {
    if (!block) return;
    if (is_own(block)) taken++;
    else foreign++;
}

void *calloc(size_t count, size_t size) {
    void *block = malloc(count * size);
    return block ? memset(block, 0, count * size) : block;
}

void *realloc(void *old, size_t size) {
    size_t before = 0;
    if (old && !is_own(old)) return foreign++, NULL;
    if (old) memcpy(&before, (char *)old - 8, 8);
    void *block = malloc(size);
    if (block && old) memcpy(block, old, before < size ? before : size);
    free(old);
    return block;
}

static void *found(const char *name) {
    void *function = dlsym(RTLD_DEFAULT, name);
    if (!function) {
        fprintf(stderr, "%s is nowhere\n", name);
        _exit(1);
    }
    return function;
}

static void require(int holds, const char *what) {
    if (holds) return;
    char line[100];
    if (write(2, line, snprintf(line, sizeof line, "%s\n", what)) < 0) _exit(2);
    _exit(1);
}

/* Blocks that come from this program, and go back to it. */
static void relatives(void) {
    void (*free_sized)(void *, size_t) = found("free_sized");
    void (*free_aligned_sized)(void *, size_t, size_t) = found("free_aligned_sized");
    void (*cfree)(void *) = found("cfree");
    void *(*create)(size_t) = found("_Znwm"), *(*create_many)(size_t) = found("_Znam");
    void (*destroy)(void *) = found("_ZdlPv"), (*destroy_sized)(void *, size_t) = found("_ZdlPvm");
    char *block = reallocarray(NULL, 10, 10);
    require(is_own(block), "reallocarray(NULL) gave a block that is not the program's");
    strcpy(block, "kept");
    block = reallocarray(block, 500, 10);
    require(is_own(block) && !strcmp(block, "kept"), "reallocarray took a block that is not the library's");
    volatile size_t half = SIZE_MAX / 2;
    errno = 0;
    require(!reallocarray(block, half, 4) && errno == ENOMEM, "reallocarray overflows");
    long before = taken;
    free_sized(block, 5000);
    free_aligned_sized(malloc(64), 16, 64);
    cfree(malloc(64));
    destroy(create(100));
    destroy_sized(create_many(100), 100);
    require(taken == before + 5, "a block did not come back to the program");
    require(foreign == 0, "the program was given a block that is not its own");
}

/* Blocks of the library's own: as with glibc, a program that replaces malloc must replace these, too. */
static void strangers(void) {
    void (*library_free)(void *) = found("__libc_free");
    void *(*library_pvalloc)(size_t) = found("__libc_pvalloc");
    void *blocks[7];
    blocks[0] = memalign(64, 100);
    blocks[1] = aligned_alloc(4096, 4096);
    require(!posix_memalign(&blocks[2], 256, 100), "posix_memalign");
    blocks[3] = valloc(100);
    blocks[4] = pvalloc(100);
    blocks[5] = library_pvalloc(5000);
    require(!posix_memalign(&blocks[6], 16, 100), "posix_memalign of what malloc gives");
    for (int i = 0; i < 7; i++) {
        require(blocks[i] && !is_own(blocks[i]), "the library has no block of its own");
        require(malloc_usable_size(blocks[i]) >= 100, "malloc_usable_size does not know the library's block");
        memset(blocks[i], i, 100);
    }
    for (int i = 0; i < 7; i++) library_free(blocks[i]);
    require(foreign == 0, "the program was given a block of the library's to free");
}

/* The heap of the library is there, whether or not anybody uses it. */
static void questions(void) {
    struct mallinfo2 (*info)(void) = found("mallinfo2");
    char *text = NULL;
    size_t size;
    FILE *file = open_memstream(&text, &size);
    malloc_trim(0);
    mallopt(M_TRIM_THRESHOLD, 1 << 20);
    require(info().uordblks < ROOM, "mallinfo2 tells of another heap");
    require(malloc_info(0, file) == 0, "malloc_info");
    fclose(file);
    require(is_own(text) && strstr(text, "<malloc"), "the C library allocates elsewhere");
    free(text);
    malloc_stats();
}

int main(void) {
    alarm(10);
    relatives();
    strangers();
    questions();
    require(given > 5 && foreign == 0, "the program was given a block that is not its own");
    return 42;
}
