/* misuse CASE...: frees or resizes what it must not, in each way that a CASE says, every one in a child of its own.

   A CASE is WHAT:SIZE:ALIGN:VARIANT:CALL. The CALL is free, or realloc to fewer bytes (shrink), as many (keep) or more
   (grow). For each the program prints a line: the case, how the child ended, the address that
   it misused last, and what it wrote to standard error. The parent never allocates: every child finds an untouched heap. */
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SECONDS = 20, MANY = 20, SAID = 400, PAGE = 4096, FOREIGN = 1 << 18, HEADER = 16, DOES_NOT_APPLY = 77 };

static char data[FOREIGN] = "data", bss[FOREIGN];
static const char literal[] = "a literal of this program, and more of it than any header could have, so that it is text";

static char *block(size_t size, size_t align) {
    void *place = NULL;
    if (align <= HEADER)
        place = malloc(size);
    else if (posix_memalign(&place, align, size) != 0)
        place = NULL;
    if (!place)
        _exit(3);
    memset(place, 'x', size < PAGE ? size : PAGE);
    return place;
}

/* --- what is free already ------------------------------------------------------------------------------------- */

/* The first, the second or the third of three blocks; the only one there is; or the second beside free ones. */
static char *freed_at_once(size_t size, size_t align, int variant) {
    char *blocks[3];
    int count = variant == 3 ? 1 : 3, which = variant > 3 ? 1 : variant % 3;
    for (int i = 0; i < count; i++)
        blocks[i] = block(size, align);
    if (variant == 4 || variant == 6)
        free(blocks[0]);
    if (variant == 5 || variant == 6)
        free(blocks[2]);
    free(blocks[which]);
    return blocks[which];
}

/* Of three blocks the second, before the first, the third, or both; or of many, after enough of them to fill a cache. */
static char *freed_before(size_t size, size_t align, int variant) {
    char *blocks[2 * MANY];
    int is_many = variant == 3, count = is_many ? 2 * MANY : 3;
    for (int i = 0; i < count; i++)
        blocks[i] = block(size, align);
    for (int i = 3; is_many && i < MANY + 3; i++)
        free(blocks[i]);
    free(blocks[1]);
    if (variant != 1)
        free(blocks[0]);
    if (variant != 0)
        free(blocks[2]);
    for (int i = MANY + 3; i < count; i++)
        free(blocks[i]);
    return blocks[1];
}

/* --- what the heap never gave ------------------------------------------------------------------------------------ */

static char *pages(size_t size) {
    return mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

/* Behind a page that nobody may read, as a thread's stack is. */
static char *guarded(void) {
    char *place = pages(FOREIGN);
    mprotect(place, PAGE, PROT_NONE);
    return place + PAGE;
}

/* At the begin of some memory or further on; on a heap with a block (odd variants), or one that was never used. */
static char *foreign(const char *what, size_t size, size_t align, int variant) {
    volatile char stack[64 * 1024];
    memset((char *)stack, variant & 4 ? 'A' : 0, sizeof stack);
    if (variant & 1)
        block(size, align);
    int offset = variant & 2 ? 0 : 2048 + HEADER;
    if (strcmp(what, "literal") == 0)
        return (char *)(uintptr_t)literal + offset % 32;
    if (strcmp(what, "stack") == 0)
        return (char *)(((uintptr_t)stack + 15) & -16) + offset;
    if (strcmp(what, "data") == 0)
        return data + offset;
    if (strcmp(what, "bss") == 0)
        return bss + offset;
    if (strcmp(what, "mapped") == 0)
        return pages(FOREIGN) + offset;
    if (strcmp(what, "guarded") == 0)
        return guarded() + offset;
    if (strcmp(what, "library") == 0)
        return (char *)stdout + offset % 32;
    return (char *)(uintptr_t)(variant & 2 ? 0xdead0000beef0010 : 0x10); /* "nowhere" */
}

/* --- the inside of blocks ------------------------------------------------------------------------------------------ */

/* What may lie where no header is: zeros, text, or the same words as before another block. */
static void fill(char *place, size_t size, const char *other, int content) {
    if (content != 2)
        memset(place, content ? 'A' : 0, size);
    for (size_t i = 0; content == 2 && i < size; i++)
        place[i] = other[(i & (HEADER - 1)) - HEADER];
}

/* 16 bytes into a block, in its middle, a page further on, or at its last multiple of 64 KiB. */
static char *inside(size_t size, size_t align, int variant) {
    char *other = block(size, 16), *place = block(size, align);
    size_t middle = size / 2 & -16, last = (((uintptr_t)place + size - 1) & -65536) - (uintptr_t)place;
    size_t offsets[] = {HEADER, middle, size > PAGE + HEADER ? PAGE : middle, last < size ? last : middle};
    size_t offset = offsets[variant % 4];
    int content = variant / 4, is_at_page = ((uintptr_t)other & (PAGE - 1)) == 0;
    if (offset == 0 || offset >= size || (content == 2 && is_at_page))
        _exit(DOES_NOT_APPLY);
    fill(place, size, other, content);
    return place + offset;
}

/* --- one case ------------------------------------------------------------------------------------------------------ */

static char *misused(const char *what, size_t size, size_t align, int variant) {
    if (strcmp(what, "at-once") == 0)
        return freed_at_once(size, align, variant);
    if (strcmp(what, "before") == 0)
        return freed_before(size, align, variant);
    if (strcmp(what, "inside") == 0)
        return inside(size, align, variant);
    return foreign(what, size, align, variant);
}

static void misuse(char *address, size_t size, const char *call) {
    if (strcmp(call, "shrink") == 0)
        address = realloc(address, 32);
    else if (strcmp(call, "keep") == 0)
        address = realloc(address, size);
    else if (strcmp(call, "grow") == 0)
        address = realloc(address, 2 * size + 32);
    else
        free(address);
}

static void run(const char *what, size_t size, size_t align, int variant, const char *call, int file) {
    struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
    dup2(file, STDERR_FILENO);
    alarm(SECONDS);
    char *address = misused(what, size, align, variant);
    if (write(file, &address, sizeof address) != sizeof address)
        _exit(3);
    misuse(address, size, call);
    _exit(0);
}

static void tell(const char *which, int status, char *address, const char *said) {
    char line[SAID + 200];
    int is_signal = WIFSIGNALED(status), number = is_signal ? WTERMSIG(status) : WEXITSTATUS(status);
    const char *form = "%s\t%s %d\t%p\t%s\n";
    int length = snprintf(line, sizeof line, form, which, is_signal ? "signal" : "exit", number, address, said);
    if (write(STDOUT_FILENO, line, (size_t)length) != length)
        _exit(3);
}

/* All that the child wrote, in one line; a report comes in one piece or in several. */
static void hear(int file, char *said) {
    ssize_t length = 0, more;
    while (length < SAID - 1 && (more = read(file, said + length, (size_t)(SAID - 1 - length))) > 0)
        length += more;
    for (ssize_t i = 0; i < length; i++)
        if (said[i] == '\n')
            said[i] = i == length - 1 ? '\0' : '|';
}

static void try(const char *which) {
    char what[32], call[32], said[SAID] = "", *address = NULL;
    size_t size, align;
    int ends[2], status, variant;
    int count = sscanf(which, "%31[^:]:%zu:%zu:%d:%31s", what, &size, &align, &variant, call);
    if (count != 5 || pipe(ends) != 0)
        _exit(2);
    pid_t child = fork();
    if (child == 0)
        run(what, size, align, variant, call, ends[1]);
    close(ends[1]);
    if (read(ends[0], &address, sizeof address) == sizeof address)
        hear(ends[0], said);
    waitpid(child, &status, 0);
    close(ends[0]);
    tell(which, status, address, said);
}

int main(int argc, char **argv) {
    for (int i = 1; i < argc; i++)
        try(argv[i]);
    return 0;
}
