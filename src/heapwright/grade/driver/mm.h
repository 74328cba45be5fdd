/* What a submission defines, under the names of CS:APP's malloc lab. */

#ifndef MM_H
#define MM_H

#include <stddef.h>

extern int mm_init(void); /* 0, or -1 if the heap cannot be made */
extern void *mm_malloc(size_t size);
extern void mm_free(void *block);
extern void *mm_realloc(void *block, size_t size);

typedef struct {
  char *teamname, *name1, *id1, *name2, *id2;
} team_t;

#endif
