/* Memory of this process that is resident, in KiB, asked without the heap. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static long resident_as(const char *label) {
    static char text[4096];
    int file = open("/proc/self/smaps_rollup", O_RDONLY);
    ssize_t size = read(file, text, sizeof text - 1);
    close(file);
    text[size > 0 ? size : 0] = 0;
    char *line = strstr(text, label);
    return line ? atol(line + strlen(label)) : -1;
}

static inline long resident(void) {
    return resident_as("Anonymous:");
}

/* A number below `most`, the next of a sequence that is the same everywhere. */
static size_t below(size_t most) {
    static unsigned long state = 88172645463325252ul;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state % most;
}
