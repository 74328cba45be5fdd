/* With -DBEFORE a library whose constructor allocates; else a program that says how large the heap is since then. */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>

extern void *early_block;

#ifdef BEFORE
void *early_block;

__attribute__((constructor(101))) static void allocate(void) { early_block = malloc(73728); }
#else
int main(void) {
    fprintf(stderr, early_block ? "" : "no constructor ran");
    printf("arena %zu\n", mallinfo2().arena);
    return early_block == NULL;
}
#endif
