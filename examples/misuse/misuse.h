/* What the files of misuse share. */
#include <stddef.h>

enum { PREVENTED, MISSED, LATER = 300, MIB = 1 << 20, FOREIGN = 1 << 16 };

struct way {
    const char *name, *class, *sentence;
    int (*function)(void);
};

extern const struct way copies[];
extern const size_t copies_count;
extern char data[FOREIGN];

/* The second of three blocks, full of letters. */
volatile char *block(size_t size);
