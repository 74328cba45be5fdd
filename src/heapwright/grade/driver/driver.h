/* What the parts of the graded process share. */

#ifndef GRADE_DRIVER_H
#define GRADE_DRIVER_H

#include <stddef.h>
#include <stdint.h>

#define REGION_START ((char *)0x200000000000)

enum { MALLOC = 1, CALLOC, REALLOC, FREE }; /* the numbers of heapwright.traces.events */

struct request {
  uint8_t op, log2_align;
  uint16_t unused;
  uint32_t block;
  uint64_t size;
};

/* The start of the memory that the grader shares. As many results follow as there is room for requests. */
struct control {
  uint64_t break_bytes, mapped_bytes; /* what the submission holds, as far as it tells the truth */
  uint64_t unused[6];
  struct request requests[];
};

/* The functions of the submission. */
struct face {
  void *(*malloc)(size_t);
  void *(*calloc)(size_t, size_t);
  void *(*realloc)(void *, size_t);
  void *(*memalign)(size_t, size_t);
  void (*free)(void *);
  int (*init)(void);
};

void region_open(int file, size_t bytes, struct control *control);
void region_populate(size_t at_start, size_t at_end);
int filter_system_calls(void);

#endif
