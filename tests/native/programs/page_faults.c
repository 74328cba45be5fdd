/* How many page faults a page of new blocks takes, in percent: the arguments are the size of a block and MiB. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

static long faults(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_minflt;
}

int main(int count, char **arguments) {
    size_t size = count > 1 ? strtoul(arguments[1], NULL, 0) : 100;
    size_t bytes = (count > 2 ? strtoul(arguments[2], NULL, 0) : 8) << 20;
    long before = faults();
    for (size_t done = 0; done < bytes; done += size)
        memset(malloc(size), 1, size);
    printf("%ld\n", 100 * (faults() - before) / (long)(bytes >> 12));
    return 0;
}
