/* The graded process: it loads a submission and plays the requests that the grader sends.

       driver LIBRARY FACE SOCKET HEAP CONTROL BYTES BLOCKS REQUESTS AT_START AT_END STAMPS

   FACE is lab (mm_malloc ...), malloc, or system (the C library's own; LIBRARY is not loaded). Then come descriptors,
   the size of the heap's region, room for blocks and requests, the bytes to populate at the region's start and end,
   and whether to stamp the first word of each new block, as a program would write it.

   The grader trusts nothing that this process says once the submission is loaded: it looks at the shared memory, and
   the kernel's clock and counters for this process, itself. */

#define _GNU_SOURCE
#include "driver.h"

#include <dlfcn.h>
#include <limits.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MAX_FROM_BREAK (32 << 20) /* the highest threshold that glibc accepts */

enum { READY, NOT_LOADED, NO_FUNCTION, NOT_INITIALIZED }; /* what the driver says after loading */

static struct face face;
static struct control *control;
static uint64_t *results;
static void **blocks; /* the address of each block */
static size_t room_for_blocks, room_for_requests;
static int stamps;

/* --- the submission's functions */

static void *cleared(size_t count, size_t size) {
  void *address = face.malloc(count * size);
  return address ? memset(address, 0, count * size) : NULL;
}

static void *unaligned(size_t align, size_t size) {
  (void)align;
  return face.malloc(size);
}

/* A name of the lab, or the plain name that newer editions use. */
static void *lookup(void *library, int is_lab, const char *name) {
  char prefixed[32] = "mm_";
  void *found = is_lab ? dlsym(library, strcat(prefixed, name)) : NULL;
  return found ? found : dlsym(library, name);
}

static int load(const char *path, int is_lab) {
  void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    fprintf(stderr, "%s\n", dlerror());
    return NOT_LOADED;
  }
  face.malloc = (void *(*)(size_t))lookup(library, is_lab, "malloc");
  face.realloc = (void *(*)(void *, size_t))lookup(library, is_lab, "realloc");
  face.free = (void (*)(void *))lookup(library, is_lab, "free");
  face.calloc = is_lab ? cleared : (void *(*)(size_t, size_t))dlsym(library, "calloc");
  face.memalign = is_lab ? unaligned : (void *(*)(size_t, size_t))dlsym(library, "memalign");
  face.init = is_lab ? (int (*)(void))dlsym(library, "mm_init") : NULL;
  if (!face.malloc || !face.realloc || !face.free || !face.calloc || !face.memalign || (is_lab && !face.init))
    return NO_FUNCTION;
  return face.init && face.init() != 0 ? NOT_INITIALIZED : READY;
}

/* The C library's malloc, with memory that is resident already. */
static int use_system(size_t bytes) {
  face = (struct face){malloc, calloc, realloc, memalign, free, NULL};
  mallopt(M_MMAP_THRESHOLD, MAX_FROM_BREAK);
  mallopt(M_TRIM_THRESHOLD, INT_MAX);
  bytes = bytes < MAX_FROM_BREAK ? bytes : MAX_FROM_BREAK - 1;
  char *first = malloc(bytes);
  if (first) memset(first, 1, bytes);
  free(first);
  return READY;
}

/* --- requests */

static void *perform(const struct request *request, void *block) {
  switch (request->op) {
    case MALLOC:
      return request->log2_align ? face.memalign((size_t)1 << request->log2_align, request->size)
                                 : face.malloc(request->size);
    case CALLOC:
      return face.calloc(1, request->size);
    case REALLOC:
      return face.realloc(block, request->size);
    default:
      face.free(block);
      return NULL;
  }
}

/* The last block's place is never used, so it stands for null. */
static void play(size_t count) {
  for (size_t i = 0; i < count; i++) {
    const struct request *request = &control->requests[i];
    void **place = &blocks[request->block < room_for_blocks ? request->block : room_for_blocks];
    void *before = *place, *address = perform(request, before);
    results[i] = (uint64_t)address;
    if (address || request->op != REALLOC) *place = address; /* a failed realloc leaves its block */
    if (stamps && address && !before && request->size >= 8) *(uint64_t *)address = request->block + 1;
  }
}

/* --- the conversation */

static void say(int socket, uint64_t word) {
  if (write(socket, &word, sizeof word) != sizeof word) _exit(3);
}

static uint64_t heard(int socket) {
  uint64_t word;
  if (read(socket, &word, sizeof word) != sizeof word) _exit(0);
  return word;
}

static void *memory(size_t bytes, int flags, int file) {
  void *start = (void *)syscall(SYS_mmap, NULL, bytes, PROT_READ | PROT_WRITE, flags | MAP_POPULATE, file, 0L);
  if (start == MAP_FAILED) _exit(3);
  return start;
}

int main(int count, char **words) {
  if (count != 12) return 3;
  const char *library = words[1], *kind = words[2];
  size_t numbers[9];
  for (int i = 0; i < 9; i++) numbers[i] = strtoull(words[i + 3], NULL, 10);
  int socket = (int)numbers[0];
  room_for_blocks = numbers[4], room_for_requests = numbers[5], stamps = (int)numbers[8];
  size_t bytes = sizeof *control + room_for_requests * (sizeof *control->requests + sizeof *results);
  control = memory(bytes, MAP_SHARED, (int)numbers[2]);
  results = (uint64_t *)&control->requests[room_for_requests];
  blocks = memory((room_for_blocks + 1) * sizeof *blocks, MAP_PRIVATE | MAP_ANONYMOUS, -1);
  region_open((int)numbers[1], numbers[3], control);
  region_populate(numbers[6], numbers[7]);
  say(socket, READY);
  heard(socket);
  if (filter_system_calls() != 0) return 3;
  int is_system = strcmp(kind, "system") == 0;
  say(socket, (uint64_t)(is_system ? use_system(numbers[6]) : load(library, strcmp(kind, "lab") == 0)));
  for (;;) {
    uint64_t requests = heard(socket);
    play(requests < room_for_requests ? requests : room_for_requests);
    say(socket, requests);
  }
}
