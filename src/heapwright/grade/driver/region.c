/* The heap's memory: one region that the grader maps, too. The break grows up from its start, mappings down from its
   end:

       REGION_START                                             + bytes
       | break ->                                 <- mappings |

   The driver exports sbrk, mmap and their kin, so a submission that calls them gets memory of the region. So do the
   functions of CS:APP's memlib. */

#define _GNU_SOURCE
#include "driver.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PAGE 4096

static size_t region_bytes, break_bytes;
static struct control *shared;
static uint8_t *taken; /* for each page, whether a mapping has it */

static int in_region(const void *address) {
  return (const char *)address >= REGION_START && (const char *)address < REGION_START + region_bytes;
}

static size_t pages_of(size_t bytes) { return (bytes + PAGE - 1) / PAGE; }
static size_t page_at(const void *address) { return ((const char *)address - REGION_START) / PAGE; }

void region_open(int file, size_t bytes, struct control *control) {
  int flags = MAP_SHARED | MAP_FIXED_NOREPLACE;
  void *table = (void *)syscall(SYS_mmap, NULL, pages_of(bytes), PROT_READ | PROT_WRITE,
                                MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0L);
  void *start = (void *)syscall(SYS_mmap, REGION_START, bytes, PROT_READ | PROT_WRITE, flags, file, 0L);
  if (start != REGION_START || table == MAP_FAILED) _exit(3);
  region_bytes = bytes;
  shared = control;
  taken = table;
}

void region_populate(size_t at_start, size_t at_end) {
  for (size_t offset = 0; offset < at_start; offset += PAGE) ((volatile char *)REGION_START)[offset] = 0;
  for (size_t offset = region_bytes - at_end; offset < region_bytes; offset += PAGE)
    ((volatile char *)REGION_START)[offset] = 0;
}

/* --- the break */

static void release(size_t first, size_t end) {
  if (first < end) syscall(SYS_madvise, REGION_START + first * PAGE, (end - first) * PAGE, MADV_REMOVE);
}

static int meets_mapping(size_t end) {
  return end > region_bytes || memchr(taken + break_bytes / PAGE, 1, pages_of(end) - break_bytes / PAGE) != NULL;
}

void *sbrk(intptr_t more) {
  size_t old = break_bytes, next = old + (size_t)more;
  if (more < 0 ? next > old : next < old || meets_mapping(next)) {
    errno = ENOMEM;
    return (void *)-1;
  }
  if (more < 0) release(pages_of(next), pages_of(old));
  shared->break_bytes = break_bytes = next;
  return REGION_START + old;
}

/* --- mappings */

static size_t highest_run(size_t pages) {
  size_t run = 0;
  for (size_t page = region_bytes / PAGE; page-- > pages_of(break_bytes);) {
    run = taken[page] ? 0 : run + 1;
    if (run == pages) return page;
  }
  return SIZE_MAX;
}

static void mark(size_t first, size_t pages, int how) {
  for (size_t page = first; page < first + pages; page++) {
    shared->mapped_bytes += PAGE * (how - (int)taken[page]);
    taken[page] = how;
  }
}

void *mmap(void *hint, size_t bytes, int protection, int flags, int file, off_t offset) {
  if (!(flags & MAP_ANONYMOUS) || flags & (MAP_FIXED | MAP_FIXED_NOREPLACE))
    return (void *)syscall(SYS_mmap, hint, bytes, protection, flags, file, offset);
  size_t pages = pages_of(bytes), first = bytes && bytes <= region_bytes ? highest_run(pages) : SIZE_MAX;
  if (first == SIZE_MAX) {
    errno = ENOMEM;
    return MAP_FAILED;
  }
  mark(first, pages, 1);
  return REGION_START + first * PAGE;
}

void *mmap64(void *hint, size_t bytes, int protection, int flags, int file, off_t offset) {
  return mmap(hint, bytes, protection, flags, file, offset);
}

int munmap(void *address, size_t bytes) {
  if (!in_region(address) || bytes > region_bytes) return syscall(SYS_munmap, address, bytes);
  release(page_at(address), page_at(address) + pages_of(bytes));
  mark(page_at(address), pages_of(bytes), 0);
  return 0;
}

void *mremap(void *address, size_t old_bytes, size_t bytes, int flags, ...) {
  if (!in_region(address)) return (void *)syscall(SYS_mremap, address, old_bytes, bytes, flags);
  if (pages_of(bytes) <= pages_of(old_bytes)) {
    munmap((char *)address + pages_of(bytes) * PAGE, (pages_of(old_bytes) - pages_of(bytes)) * PAGE);
    return address;
  }
  errno = ENOMEM; /* an allocator then copies */
  return MAP_FAILED;
}

int madvise(void *address, size_t bytes, int advice) {
  if (advice == MADV_DONTNEED && in_region(address)) advice = MADV_REMOVE; /* the region is shared memory */
  return syscall(SYS_madvise, address, bytes, advice);
}

/* --- the functions of memlib */

void mem_init(void) {}
void mem_deinit(void) {}
void *mem_sbrk(intptr_t more) { return sbrk(more); }
void *mem_heap_lo(void) { return REGION_START; }
void *mem_heap_hi(void) { return REGION_START + break_bytes - 1; }
size_t mem_heapsize(void) { return break_bytes; }
size_t mem_pagesize(void) { return PAGE; }
void *mem_memcpy(void *to, const void *from, size_t bytes) { return memcpy(to, from, bytes); }
void *mem_memset(void *to, int byte, size_t bytes) { return memset(to, byte, bytes); }
