/* The rest of the C library: its own malloc extensions, and its functions that
 * return memory for the program to free.
 */
#include "check.h"

#include <dirent.h>
#include <glob.h>
#include <malloc.h>
#include <regex.h>
#include <stdio.h>
#include <string.h>

#pragma weak mallinfo2 /* glibc 2.33 */

/* --- extensions ------------------------------------------------------------------- */

static void report_as_xml(void) {
    char *text = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&text, &size);
    require(stream, "open_memstream failed");
    require(malloc_info(0, stream) == 0, "malloc_info reports failure");
    fclose(stream);
    free(text);
}

/* glibc manual, "Malloc Tunable Parameters", "Statistics for Memory Allocation
 * with malloc": programs call these without asking whose heap it is. */
static void extensions_can_be_called(void) {
    void *block = must_malloc(100000);
    mallopt(M_MMAP_THRESHOLD, 256 * KIB);
    mallopt(M_TRIM_THRESHOLD, 256 * KIB);
    mallopt(M_ARENA_MAX, 2);
    malloc_trim(0);
    report_as_xml();
    if (mallinfo2)
        remark("%zu bytes in use", mallinfo2().uordblks);
    free(block);
    torture(7, 2000);
}

/* Blocks handed out, those with a mapping of their own included. */
static size_t bytes_in_use(void) {
    struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

/* glibc manual, "Statistics for Memory Allocation with malloc": uordblks is what
 * malloc handed out, hblkhd what it mapped. */
static void mallinfo_follows_the_heap(void) {
    enum { COUNT = 1000, SIZE = 10 * KIB };
    static void *blocks[COUNT];
    if (!mallinfo2)
        cannot_try("the C library has no mallinfo2");
    size_t before = bytes_in_use();
    for (unsigned i = 0; i < COUNT; i++)
        blocks[i] = must_malloc(SIZE);
    size_t during = bytes_in_use();
    require(during >= before + (size_t)COUNT * SIZE, "%d bytes more in use, %zu reported",
            COUNT * SIZE, during - before);
    for (unsigned i = 0; i < COUNT; i++)
        free(blocks[i]);
    require(bytes_in_use() < during - (size_t)COUNT * SIZE / 2, "freed blocks count as in use");
}

/* --- memory from the library, freed by the program ------------------------------------- */

static void free_strings(void) {
    char *copy = strdup("twelve bytes"), *printed = NULL;
    require(copy && strcmp(copy, "twelve bytes") == 0, "strdup");
    require(asprintf(&printed, "%s %d", copy, 5) == 14, "asprintf");
    require(strcmp(printed, "twelve bytes 5") == 0, "asprintf gave other text");
    free(copy);
    free(printed);
}

static void free_lines(void) {
    char text[] = "one\ntwo\n", *line = NULL;
    size_t capacity = 0, lines = 0;
    FILE *stream = fmemopen(text, sizeof text - 1, "r");
    require(stream, "fmemopen");
    while (getline(&line, &capacity, stream) >= 0)
        lines++;
    require(lines == 2, "getline gave %zu lines", lines);
    fclose(stream);
    free(line);
}

static void free_streamed_text(void) {
    char *text = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&text, &size);
    for (unsigned i = 0; i < 5000; i++)
        fprintf(stream, "%04u", i);
    fclose(stream);
    require(size == 20000 && strncmp(text + 4, "0001", 4) == 0, "open_memstream lost content");
    free(text);
}

static void free_paths(void) {
    char *path = realpath("/proc/../", NULL);
    require(path && strcmp(path, "/") == 0, "realpath");
    free(path);
    glob_t found;
    require(glob("/pro[c]", 0, NULL, &found) == 0 && found.gl_pathc == 1, "glob");
    globfree(&found);
}

static void free_entries(void) {
    struct dirent **entries;
    int count = scandir("/", &entries, NULL, alphasort);
    require(count > 0, "scandir gave %d", count);
    for (int i = 0; i < count; i++)
        free(entries[i]);
    free(entries);
}

static void free_pattern(void) {
    regex_t compiled;
    require(regcomp(&compiled, "^(a|b)+[0-9]{2,5}$", REG_EXTENDED) == 0, "regcomp");
    require(regexec(&compiled, "abba123", 0, NULL, 0) == 0, "regexec");
    regfree(&compiled);
}

static void change_environment(void) {
    char name[32];
    for (unsigned i = 0; i < 300; i++) {
        snprintf(name, sizeof name, "CHECK_%u", i % 50);
        require(setenv(name, "value", 1) == 0, "setenv");
    }
    require(strcmp(getenv("CHECK_49"), "value") == 0, "getenv");
    require(unsetenv("CHECK_49") == 0, "unsetenv");
}

/* POSIX.1-2024 has each of these allocate as if by malloc. */
static void library_memory_can_be_freed(void) {
    free_strings();
    free_lines();
    free_streamed_text();
    free_paths();
    free_entries();
    free_pattern();
    change_environment();
}

const struct check checks[] = {
    {"glibc_fns", extensions_can_be_called},
    {"mallinfo_live", mallinfo_follows_the_heap},
    {"libc_helpers", library_memory_can_be_freed},
    {NULL, NULL},
};
