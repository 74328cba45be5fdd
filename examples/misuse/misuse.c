/* misuse NAME: misuses the heap in one way. Without a name: lists the ways, one in a line, with its class and a sentence.

   Exit status 1: nobody noticed. 0: the harm was prevented. Any other end is the malloc's doing. Build with
   cc -O1 -fno-builtin -pthread misuse.c copies.c, and run it under the malloc to be judged: see table.py. */
#define _GNU_SOURCE
#include "misuse.h"
#include <dlfcn.h>
#include <malloc.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

char data[FOREIGN] = "data";
static const char literal[] = "a text of this program that is longer than any header could be";

/* What a program does afterwards: it takes blocks of the size, and frees them, twice. */
static int later(size_t size) {
    char *blocks[LATER];
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < LATER; i++)
            blocks[i] = malloc(size);
        for (int i = 0; i < LATER; i++)
            free(blocks[i]);
    }
    return MISSED;
}

volatile char *block(size_t size) {
    char *first = malloc(size), *place = malloc(size), *last = malloc(size);
    if (!first || !place || !last)
        exit(3);
    memset(place, 'x', size);
    memset(last, 'y', size);
    return place;
}

static int freed_twice(size_t size) {
    char *place = (char *)block(size);
    free(place);
    free(place);
    return later(size);
}

static int freed(volatile char *place, size_t size) {
    free((char *)place);
    return later(size);
}

/* Writes zeros behind the block, as the end of a string is, or letters before it, and then frees it. */
static int written(size_t size, long offset, int count) {
    volatile char *place = block(size);
    while (offset < 0 && size < MIB / 64 && ((uintptr_t)place & (MIB / 64 - 1)) < size)
        place = block(size); /* one with another block before it, not a page of the malloc's own */
    for (int i = 0; i < count; i++)
        place[offset + i] = offset < 0 ? 'z' : 0;
    return freed(place, size);
}

static int written_after(size_t size, size_t offset) {
    volatile char *place = block(size);
    free((char *)place);
    place[offset] = 'z';
    return later(size);
}

static int read_after(size_t size, size_t offset) {
    volatile char *place = block(size);
    free((char *)place);
    return place[offset] == 'x' ? MISSED : PREVENTED;
}

/* --- the ways ---------------------------------------------------------------------------------------------------- */

static int double_24(void) { return freed_twice(24); }
static int double_1000(void) { return freed_twice(1000); }
static int double_20000(void) { return freed_twice(20000); }
static int double_200k(void) { return freed_twice(200000); }
static int double_3m(void) { return freed_twice(3 * MIB); }

static int double_between(void) {
    char *place = (char *)block(100), *other = (char *)block(100);
    free(place);
    free(other);
    free(place);
    return later(100);
}

static int double_after_many(void) {
    char *place = (char *)block(100), *others[50];
    for (int i = 0; i < 50; i++)
        others[i] = malloc(100);
    free(place);
    for (int i = 0; i < 50; i++)
        free(others[i]);
    free(place);
    return later(100);
}

static int double_after_pairs(void) {
    char *place = (char *)block(100);
    free(place);
    for (int i = 0; i < 20; i++)
        free(malloc(200));
    free(place);
    return later(100);
}

static void *free_it(void *place) {
    free(place);
    return NULL;
}

static int double_thread(void) {
    char *place = (char *)block(100);
    pthread_t thread;
    pthread_create(&thread, NULL, free_it, place);
    pthread_join(thread, NULL);
    free(place);
    return later(100);
}

static int inside_16(void) { return freed(block(100) + 16, 100); }
static int inside_1(void) { return freed(block(100) + 1, 100); }
static int inside_8000(void) { return freed(block(20000) + 8000, 20000); }
static int inside_large(void) { return freed(block(200000) + 65536, 200000); }
static int inside_huge(void) { return freed(block(3 * MIB) + MIB, 3 * MIB); }

static int foreign_stack(void) {
    char stack[FOREIGN];
    memset(stack, 0, sizeof stack);
    return freed(stack + FOREIGN / 2, 100);
}

static int foreign_data(void) { return freed(data + FOREIGN / 2, 100); }
static int foreign_text(void) { return freed((char *)(((uintptr_t)literal + 15) & -16), 100); }
static int foreign_libc(void) { return freed((char *)stdout, 100); }
static int foreign_unmapped(void) { return freed((char *)0x123456780, 100); }

static int foreign_mapping(void) {
    char *place = mmap(NULL, MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return freed(place + 4096 + 16, 100);
}

static int over_1_of_24(void) { return written(24, 24, 1); }
static int over_1_of_20(void) { return written(20, 20, 1); }
static int over_1_of_1000(void) { return written(1000, 1000, 1); }
static int over_32_of_100(void) { return written(100, 100, 32); }
static int over_1_of_20000(void) { return written(20000, 20000, 1); }
static int over_1_of_200k(void) { return written(200000, 200000, 1); }
static int over_1_of_2000001(void) { return written(2000001, 2000001, 1); }
static int over_1_of_3m(void) { return written(3 * MIB, 3 * MIB, 1); }
static int over_grown(void) {
    char *place = realloc((char *)block(100), 104);
    place[104] = 0;
    return freed(place, 104);
}
static int over_of_nothing(void) { return written(0, 0, 1); }
static int over_page(void) { return written(4096, 4096, 64); }
static int over_far(void) { return written(100, 300, 1); }

/* The last bytes before the next megabyte, as far as an overflow of a whole heap may come. */
static int over_megabyte(void) {
    volatile char *place = block(100), *end = (volatile char *)(((uintptr_t)place | (MIB - 1)) + 1);
    for (int i = 1; i <= 64; i++)
        end[-i] = 0;
    return freed(place, 100);
}

static int over_aligned(void) {
    void *place;
    if (posix_memalign(&place, 256, 100) != 0)
        return 3;
    ((volatile char *)place)[100] = 0;
    return freed(place, 100);
}

static int under_1(void) { return written(100, -1, 1); }
static int under_8(void) { return written(1000, -8, 8); }
static int under_32(void) { return written(100, -32, 32); }
static int under_large(void) { return written(200000, -8, 8); }

static int after_link(void) { return written_after(100, 0); }
static int after_middle(void) { return written_after(100, 48); }
static int after_end(void) { return written_after(1000, 999); }
static int after_20000(void) { return written_after(20000, 500); }
static int after_20000_far(void) { return written_after(20000, 15000); }
static int after_200k_link(void) { return written_after(200000, 0); }
static int after_200k(void) { return written_after(200000, 5000); }
static int after_3m(void) { return written_after(3 * MIB, 5000); }

/* Makes a free list lead to a place of the writer's choice, and waits for malloc to hand it out. */
static int poisoned(void) {
    volatile char *place = block(64);
    free((char *)place);
    *(volatile uintptr_t *)place = (uintptr_t)(data + 64);
    for (int round = 0; round < 2; round++) {
        char *blocks[LATER];
        for (int i = 0; i < LATER; i++)
            if ((blocks[i] = malloc(64)) == data + 64)
                return MISSED;
        for (int i = 0; i < LATER; i++)
            free(blocks[i]);
    }
    return PREVENTED;
}

static int read_100(void) { return read_after(100, 50); }
static int read_1000(void) { return read_after(1000, 900); }
static int read_20000(void) { return read_after(20000, 15000); }
static int read_200k(void) { return read_after(200000, 100000); }
static int read_3m(void) { return read_after(3 * MIB, 100000); }

/* Whether what one part of a program left is in a new block of another part. */
static int read_new(void) {
    for (int i = 0; i < LATER; i++) {
        volatile char *place = malloc(100);
        if (place[50] == 'x')
            return MISSED;
        memset((char *)place, 'x', 100);
        free((char *)place);
    }
    return PREVENTED;
}

static int reused(void) {
    char *place = malloc(100);
    free(place);
    return malloc(100) == place ? MISSED : PREVENTED;
}

static int reused_200k(void) {
    char *place = malloc(200000);
    free(place);
    return malloc(200000) == place ? MISSED : PREVENTED;
}

static int in_order(void) {
    char *before = malloc(100), *place = malloc(100);
    for (long step = place - before, i = 0; i < 8; i++) {
        before = place;
        if ((place = malloc(100)) - before != step)
            return PREVENTED;
    }
    return MISSED;
}

static int resized_freed(void) {
    char *place = (char *)block(100);
    free(place);
    free(realloc(place, 5000));
    return later(100);
}

static int resized_inside(void) {
    free(realloc((char *)block(100) + 16, 5000));
    return later(100);
}

static int resized_data(void) {
    free(realloc(data + 4096, 5000));
    return later(100);
}

static int resized_overflown(void) {
    volatile char *place = block(100);
    place[100] = 0;
    free(realloc((char *)place, 5000));
    return later(100);
}

/* Frees with a size: C23's free_sized, or what C++'s delete calls. A malloc without the function cannot see it. */
static int sized(const char *name, size_t size, size_t said) {
    void (*function)(void *, size_t) = (void (*)(void *, size_t))dlsym(RTLD_DEFAULT, name);
    if (!function)
        return MISSED;
    function((char *)block(size), said);
    return later(size);
}

static int sized_less(void) { return sized("free_sized", 100, 50); }
static int sized_more(void) { return sized("free_sized", 100, 101); }
static int sized_large(void) { return sized("free_sized", 200000, 100000); }
static int sized_huge(void) { return sized("free_sized", 5 * MIB, 2 * MIB); }
static int sized_huge_less(void) { return sized("free_sized", 5 * MIB, 5 * MIB - 1); }
static int sized_delete(void) { return sized("_ZdlPvm", 64, 32); }

static int deleted_array(void) {
    char *(*allocate)(size_t) = (char *(*)(size_t))dlsym(RTLD_DEFAULT, "_Znam");
    if (!allocate)
        return MISSED;
    free(allocate(100));
    return later(100);
}

static int absurd(void) {
    volatile size_t most = SIZE_MAX - 1;
    return malloc(most) || calloc(most / 2, 4) ? MISSED : PREVENTED;
}

static const struct way WAYS[] = {
    {"double_24", "double free", "at once, 24 bytes", double_24},
    {"double_1000", "double free", "at once, 1000 bytes", double_1000},
    {"double_20000", "double free", "at once, 20,000 bytes", double_20000},
    {"double_200k", "double free", "at once, 200,000 bytes", double_200k},
    {"double_3m", "double free", "at once, 3 MiB", double_3m},
    {"double_between", "double free", "after another block was freed", double_between},
    {"double_after_many", "double free", "after 50 other blocks were freed", double_after_many},
    {"double_after_pairs", "double free", "after other sizes came and went", double_after_pairs},
    {"double_thread", "double free", "first by another thread", double_thread},
    {"inside_16", "inside a block", "free 16 bytes into 100", inside_16},
    {"inside_1", "inside a block", "free 1 byte into 100", inside_1},
    {"inside_8000", "inside a block", "free 8000 bytes into 20,000", inside_8000},
    {"inside_large", "inside a block", "free 64 KiB into 200,000 bytes", inside_large},
    {"inside_huge", "inside a block", "free 1 MiB into 3 MiB", inside_huge},
    {"foreign_stack", "foreign address", "free of the stack", foreign_stack},
    {"foreign_data", "foreign address", "free of static data", foreign_data},
    {"foreign_text", "foreign address", "free of a literal", foreign_text},
    {"foreign_libc", "foreign address", "free of a FILE of the C library", foreign_libc},
    {"foreign_unmapped", "foreign address", "free of an address without memory", foreign_unmapped},
    {"foreign_mapping", "foreign address", "free of the program's own mapping", foreign_mapping},
    {"over_1_of_24", "overflow", "1 byte, of 24", over_1_of_24},
    {"over_1_of_20", "overflow", "1 byte, of 20", over_1_of_20},
    {"over_1_of_1000", "overflow", "1 byte, of 1000", over_1_of_1000},
    {"over_32_of_100", "overflow", "32 bytes, of 100", over_32_of_100},
    {"over_1_of_20000", "overflow", "1 byte, of 20,000", over_1_of_20000},
    {"over_1_of_200k", "overflow", "1 byte, of 200,000", over_1_of_200k},
    {"over_1_of_2000001", "overflow", "1 byte, of 2,000,001", over_1_of_2000001},
    {"over_1_of_3m", "overflow", "1 byte, of 3 MiB", over_1_of_3m},
    {"over_grown", "overflow", "1 byte, after realloc from 100 to 104", over_grown},
    {"over_of_nothing", "overflow", "1 byte, of malloc(0)", over_of_nothing},
    {"over_page", "overflow", "64 bytes, of a page", over_page},
    {"over_aligned", "overflow", "1 byte, of 100 aligned to 256", over_aligned},
    {"over_far", "overflow", "1 byte, 200 bytes behind 100", over_far},
    {"over_megabyte", "overflow", "64 bytes at the end of the megabyte", over_megabyte},
    {"under_1", "underflow", "1 byte before 100", under_1},
    {"under_8", "underflow", "8 bytes before 1000", under_8},
    {"under_32", "underflow", "32 bytes before 100", under_32},
    {"under_large", "underflow", "8 bytes before 200,000", under_large},
    {"after_link", "write after free", "first word of 100 bytes", after_link},
    {"after_middle", "write after free", "middle of 100 bytes", after_middle},
    {"after_end", "write after free", "last byte of 1000", after_end},
    {"after_20000", "write after free", "byte 500 of 20,000", after_20000},
    {"after_20000_far", "write after free", "byte 15,000 of 20,000", after_20000_far},
    {"after_200k_link", "write after free", "first word of 200,000", after_200k_link},
    {"after_200k", "write after free", "byte 5000 of 200,000", after_200k},
    {"after_3m", "write after free", "byte 5000 of 3 MiB", after_3m},
    {"poisoned", "write after free", "a free list made to lead elsewhere", poisoned},
    {"read_100", "read after free", "100 bytes", read_100},
    {"read_1000", "read after free", "1000 bytes", read_1000},
    {"read_20000", "read after free", "20,000 bytes", read_20000},
    {"read_200k", "read after free", "200,000 bytes", read_200k},
    {"read_3m", "read after free", "3 MiB", read_3m},
    {"read_new", "predictable", "what was freed is in a new block", read_new},
    {"reused", "predictable", "a freed block is the next one", reused},
    {"reused_200k", "predictable", "a freed block is the next one, 200,000 bytes", reused_200k},
    {"in_order", "predictable", "ten new blocks are equally far apart", in_order},
    {"resized_freed", "realloc", "of a freed block", resized_freed},
    {"resized_inside", "realloc", "of the inside of a block", resized_inside},
    {"resized_data", "realloc", "of static data", resized_data},
    {"resized_overflown", "realloc", "of a block that overflowed", resized_overflown},
    {"sized_less", "wrong size", "free_sized, 50 of 100 bytes", sized_less},
    {"sized_more", "wrong size", "free_sized, 101 of 100 bytes", sized_more},
    {"sized_large", "wrong size", "free_sized, half of 200,000 bytes", sized_large},
    {"sized_huge", "wrong size", "free_sized, 2 of 5 MiB", sized_huge},
    {"sized_huge_less", "wrong size", "free_sized, one byte less than 5 MiB", sized_huge_less},
    {"sized_delete", "wrong size", "delete, 32 of 64 bytes", sized_delete},
    {"deleted_array", "wrong function", "free of a block of new[]", deleted_array},
    {"absurd", "size", "malloc(-2), calloc whose product overflows", absurd},
};

/* Runs the way of a name, or lists all ways if there is none; returns its exit status, or -1. */
static int run(const struct way *ways, size_t count, const char *name) {
    for (size_t i = 0; i < count; i++) {
        if (name && strcmp(name, ways[i].name) == 0)
            return ways[i].function();
        if (!name)
            printf("%s\t%s\t%s\n", ways[i].name, ways[i].class, ways[i].sentence);
    }
    return -1;
}

int main(int argc, char **argv) {
    struct rlimit none = {0, 0};
    const char *name = argc > 1 ? argv[1] : NULL;
    setrlimit(RLIMIT_CORE, &none);
    int status = run(WAYS, sizeof WAYS / sizeof *WAYS, name);
    if (status < 0)
        status = run(copies, copies_count, name);
    return status >= 0 ? status : name ? 2 : 0;
}
