"""Random trees of calls, also through C. Each block's size says which functions called: a digit of base 4 for each."""

import random
from functools import reduce

DEEPEST = 6
choose = random.Random(1)


def go_on(depth, path):
    if depth == DEEPEST or choose.random() < 0.2:
        bytes(100_000 + path)
    for _ in range(choose.randrange(3) if depth < DEEPEST else 0):
        digit = choose.randrange(4)
        FUNCTIONS[digit](depth + 1, path * 4 + digit)


def zero(depth, path):
    go_on(depth, path)


def one(depth, path):
    list(map(go_on, [depth], [path]))
    if choose.random() < 0.2:
        go_on(depth, path)


def two(depth, path):
    def inside():
        yield go_on(depth, path)

    return [*inside()]


def three(depth, path):
    return reduce(lambda _, path: go_on(depth, path), [None, path])


FUNCTIONS = [zero, one, two, three]
for i in range(400):
    FUNCTIONS[i % 4](0, 4 + i % 4)
