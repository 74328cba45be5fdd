/* Ways to misuse a heap by what a function of the C library writes. Nobody frees the block, so only this function itself
   can notice. */
#define _GNU_SOURCE
#include "misuse.h"
#include <stdlib.h>
#include <string.h>

static char *letters(size_t count) {
    memset(data, 'x', count);
    data[count] = 0;
    return data;
}

static int copied_over(void) {
    memcpy((char *)block(100), data, 101);
    return MISSED;
}

static int copied_over_200k(void) {
    char *place = (char *)block(200000);
    memcpy(place + 200000 - 50, data, 51);
    return MISSED;
}

static int copied_on(void) {
    char *end = mempcpy((char *)block(100), data, 60);
    mempcpy(end, data, 41);
    return MISSED;
}

static int copied_before(void) {
    memmove((char *)block(100) - 8, data, 16);
    return MISSED;
}

static int copied_string(void) {
    strcpy((char *)block(100), letters(100));
    return MISSED;
}

static int copied_string_on(void) {
    char *end = stpcpy((char *)block(100), letters(60));
    stpcpy(end, letters(40));
    return MISSED;
}

static int copied_behind_string(void) {
    char *place = strcpy((char *)block(100), letters(60));
    strcat(place, data);
    return MISSED;
}

static int filled_megabyte(void) {
    memset((char *)block(100), 0, MIB);
    return MISSED;
}

static int filled_freed(void) {
    char *place = (char *)block(100);
    free(place);
    memset(place, 'z', 100);
    return MISSED;
}

const struct way copies[] = {
    {"copied_over", "copy", "memcpy, 1 byte too many for 100", copied_over},
    {"copied_over_200k", "copy", "memcpy, 1 byte too many for 200,000", copied_over_200k},
    {"copied_on", "copy", "mempcpy of 41 bytes behind 60 in 100", copied_on},
    {"copied_before", "copy", "memmove, from 8 bytes before 100", copied_before},
    {"copied_string", "copy", "strcpy of 100 letters to 100 bytes", copied_string},
    {"copied_string_on", "copy", "stpcpy of 40 letters behind 60 in 100 bytes", copied_string_on},
    {"copied_behind_string", "copy", "strcat of 60 letters to 60 in 100 bytes", copied_behind_string},
    {"filled_megabyte", "copy", "memset of 1 MiB in 100 bytes", filled_megabyte},
    {"filled_freed", "copy", "memset of a freed block", filled_freed},
};
const size_t copies_count = sizeof copies / sizeof *copies;
