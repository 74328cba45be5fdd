// Requests at each level of a deep recursion, on the way down and on the way up. Two functions take turns.

#include <stdlib.h>

enum { DOWN = 1000000, UP = 2000000 };

void *volatile kept;
void odd(int level, int last);

__attribute__((noinline)) void even(int level, int last) {
    kept = malloc(DOWN + level);
    if (level < last) odd(level + 1, last);
    kept = malloc(UP + level);
}

__attribute__((noinline)) void odd(int level, int last) {
    kept = malloc(DOWN + level);
    if (level < last) even(level + 1, last);
    kept = malloc(UP + level);
}

int main(int count, char **arguments) {
    even(0, atoi(arguments[1]));
    return 42;
}
