"""A method allocates most, called through the interpreter's C code: `map`, `sorted`, a generator.

Names have 1 or 2 bytes for each character.
"""


class Basket:
    def fill(self, count):
        self.fruit = []
        for _ in range(count):
            self.fruit.append(bytes(100_000))
        return len(self.fruit)


def harvest(basket):
    yield from map(basket.fill, [40])


def 訪問(depth, basket):  # noqa: PLC2401
    if depth:
        return 訪問(depth - 1, basket)
    return list(harvest(basket))


def grün(basket):  # noqa: PLC2401
    return sorted([1], key=lambda _: 訪問(3, basket))


grün(Basket())
