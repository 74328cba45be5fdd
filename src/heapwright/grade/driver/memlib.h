/* The memory of a submission, under the names of CS:APP's malloc lab. The driver defines these functions. */

#ifndef MEMLIB_H
#define MEMLIB_H

#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

extern void mem_init(void);
extern void mem_deinit(void);
extern void *mem_sbrk(intptr_t more); /* the old end of the heap, or (void *)-1 */
extern void *mem_heap_lo(void);       /* the first byte of the heap */
extern void *mem_heap_hi(void);       /* its last byte */
extern size_t mem_heapsize(void);     /* in bytes */
extern size_t mem_pagesize(void);
extern void *mem_memcpy(void *to, const void *from, size_t bytes);
extern void *mem_memset(void *to, int byte, size_t bytes);

#endif
