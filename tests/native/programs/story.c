/* story STEP...: plays requests and writes, as the tests of ptmalloc's reports tell them.

   a=100      block a of 100 bytes; a=100@64 aligned     -a      free it; -a+8 frees the address 8 bytes further on
   a~300      resize it                                  a[-8]=5 write a word 8 bytes before it; =b writes b's address
   a[-8]^=1   change bits of a word                      sbrk=-8 move the break
   fence=a    the last 16 bytes in use of a's segment of 64 MiB, whose size is the segment's second word
   thread     play the rest in a thread of its own */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { NAMES = 1024, SECONDS = 20, SEGMENT = 64 << 20, FENCE = 16 };

static struct { char name[8]; char *address; } blocks[NAMES];

static char **block(const char *name, size_t length) {
    int i = 0;
    while (blocks[i].name[0] && (strlen(blocks[i].name) != length || strncmp(blocks[i].name, name, length) != 0))
        i++;
    memcpy(blocks[i].name, name, length);
    return &blocks[i].address;
}

static long number(const char *text) { return (long)strtoull(text, NULL, 0); }

/* A number, or where a block lies, perhaps with a number added. */
static long value(const char *text) {
    size_t length = strcspn(text, "+~");
    if (strchr("-0123456789", text[0]))
        return number(text);
    return (long)*block(text, length) + (text[length] == '+' ? number(text + length) : 0);
}

static void allocate(char **place, const char *size) {
    const char *align = strchr(size, '@');
    void *made = NULL;
    if (!align)
        made = malloc((size_t)number(size));
    else if (posix_memalign(&made, (size_t)number(align + 1), (size_t)number(size)) != 0)
        _exit(3);
    if (!made)
        _exit(3);
    *place = made;
}

static void write_word(const char *name, const char *bracket) {
    long *place = (long *)(*block(name, (size_t)(bracket - name)) + number(bracket + 1));
    const char *sign = strchr(bracket, ']') + 1;
    if (sign[0] == '^')
        *place ^= value(sign + 2);
    else
        *place = value(sign + 1);
}

static void find_fence(char *inside) {
    char *segment = (char *)((uintptr_t)inside & -(uintptr_t)SEGMENT);
    *block("fence", 5) = segment + ((long *)segment)[1] - FENCE;
}

static void play(const char *step) {
    size_t length = strcspn(step, "=~[");
    if (step[0] == '-')
        free((char *)value(step + 1));
    else if (strncmp(step, "sbrk=", 5) == 0)
        (void)!sbrk(number(step + 5));
    else if (strncmp(step, "fence=", 6) == 0)
        find_fence((char *)value(step + 6));
    else if (step[length] == '[')
        write_word(step, step + length);
    else if (step[length] == '~')
        (void)!realloc((char *)value(step), (size_t)number(step + length + 1));
    else
        allocate(block(step, length), step + length + 1);
}

static void *play_all(void *steps) {
    for (char **step = steps; *step; step++) {
        if (strcmp(*step, "thread") != 0) {
            play(*step);
            continue;
        }
        pthread_t thread;
        if (pthread_create(&thread, NULL, play_all, step + 1) != 0 || pthread_join(thread, NULL) != 0)
            _exit(3);
        return NULL;
    }
    return NULL;
}

int main(int argc, char **argv) {
    struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
    alarm(SECONDS);
    play_all(argv + (argc > 0));
    return 0;
}
