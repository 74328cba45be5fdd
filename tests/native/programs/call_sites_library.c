/* One function that asks for a block; the name is the compiler's option. Two such libraries have one layout. */
#include <stdlib.h>

void *NAME(size_t size) {
    char *volatile block = malloc(size);
    return block ? block + 1 : block;
}
