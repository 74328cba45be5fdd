/* What memcpy and its relatives write and return, on the heap and on the stack. Exit status 0, or the number of the line
   that is wrong. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>

#define SAME(what, expected) \
    if ((what) != (expected)) return __LINE__
#define HOLDS(place, text) \
    if (memcmp(place, text, sizeof text) != 0) return __LINE__

static int try_at(char *place) {
    SAME(memcpy(place, "0123456789", 11), place);
    HOLDS(place, "0123456789");
    SAME(memmove(place + 2, place, 8), place + 2);
    HOLDS(place, "0101234567");
    SAME(memmove(place, place + 2, 9), place);
    HOLDS(place, "01234567");
    SAME(mempcpy(place, "abcdefghij", 9), place + 9);
    HOLDS(place, "abcdefghi7");
    SAME(memset(place, 'x' + 256, 8), place);
    HOLDS(place, "xxxxxxxxi7");
    SAME(strcpy(place, "long enough"), place);
    HOLDS(place, "long enough");
    SAME(strcat(place, ", and more"), place);
    HOLDS(place, "long enough, and more");
    SAME(stpcpy(place, "shorter one"), place + 11);
    HOLDS(place, "shorter one");
    SAME(memcpy(place, "", 0), place);
    SAME(mempcpy(place, "", 0), place);
    SAME(memset(place, 0, 0), place);
    SAME(stpcpy(place, ""), place);
    SAME(*place, 0);
    return 0;
}

int main(void) {
    char here[22];
    for (size_t size = sizeof here; size < 1 << 21; size *= 3) {
        char *place = malloc(size);
        int line = try_at(place);
        if (line == 0) line = try_at(place + size - sizeof here); /* the end of the block */
        free(place);
        if (line != 0) return line;
    }
    return try_at(here);
}
