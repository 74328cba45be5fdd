/* A heap for `heapwright grade`: one implicit list with boundary tags, first fit, and immediate merging.

       block -> +--------------------+
             -8 | size, 1 if in use  |  the header, 8 bytes below the block's address
              0 | the caller's bytes |
       size-16  | size, 1 if in use  |  the footer, the same word
                +--------------------+

   The list begins behind a block in use that is nothing but its tags, and ends with a header of size 0.

   Source: D. E. Knuth, The Art of Computer Programming, volume 1, section 2.5 (boundary tags). */

#include "mm.h"

#include "memlib.h"

#include <stdint.h>
#include <string.h>

#define TAGS 16
#define MIN_BLOCK 32
#define GROWTH 4096
#define MAX_SIZE ((size_t)1 << 40)

static char *first;

static uint64_t *word_at(char *address) { return (uint64_t *)address; }
static uint64_t size_in(uint64_t tag) { return tag & ~(uint64_t)1; }
static uint64_t size_of(char *block) { return size_in(*word_at(block - 8)); }
static int in_use(char *block) { return *word_at(block - 8) & 1; }
static char *next(char *block) { return block + size_of(block); }

static void tag(char *block, uint64_t size, int used) {
  *word_at(block - 8) = *word_at(block + size - TAGS) = size | (uint64_t)used;
}

/* Merge a free block with its free neighbours. */
static char *merge(char *block) {
  uint64_t below = *word_at(block - TAGS);
  uint64_t size = size_of(block) + (in_use(next(block)) ? 0 : size_of(next(block)));
  if (!(below & 1)) {
    block -= below;
    size += below;
  }
  tag(block, size, 0);
  return block;
}

/* Turn new memory, and the end mark before it, into a free block. */
static char *grow(uint64_t size) {
  char *block = mem_sbrk((intptr_t)size);
  if (block == (char *)-1) return NULL;
  tag(block, size, 0);
  *word_at(next(block) - 8) = 1;
  return merge(block);
}

static char *find(uint64_t size) {
  for (char *block = first; size_of(block); block = next(block))
    if (!in_use(block) && size_of(block) >= size) return block;
  return grow(size > GROWTH ? size : GROWTH);
}

int mm_init(void) {
  char *start = mem_sbrk(MIN_BLOCK);
  if (start == (char *)-1) return -1;
  first = start + MIN_BLOCK;
  tag(first - TAGS, TAGS, 1);
  *word_at(first - 8) = 1;
  return 0;
}

void *mm_malloc(size_t size) {
  if (size == 0 || size > MAX_SIZE) return NULL;
  uint64_t wanted = (size + TAGS + 15) & ~(uint64_t)15;
  char *block = find(wanted);
  if (!block) return NULL;
  uint64_t rest = size_of(block) - wanted;
  tag(block, rest < MIN_BLOCK ? wanted + rest : wanted, 1);
  if (rest >= MIN_BLOCK) tag(next(block), rest, 0);
  return block;
}

void mm_free(void *block) {
  if (!block) return;
  tag(block, size_of(block), 0);
  merge(block);
}

void *mm_realloc(void *block, size_t size) {
  if (!block) return mm_malloc(size);
  char *moved = mm_malloc(size);
  if (!moved && size > 0) return NULL;
  uint64_t room = size_of(block) - TAGS;
  if (moved) memcpy(moved, block, size < room ? size : room);
  mm_free(block);
  return moved;
}
