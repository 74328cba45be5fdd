"""Replays of what TLSF did with pools: tools/record_pools.py recorded the original."""

from pathlib import Path

from own_functions import PAGE

RECORDING = Path(__file__).parent.parent / "allocators" / "originals" / "pools" / "tlsf.txt"
PROGRAMS = RECORDING.read_text().split("\n\n")[1:]
STEP = 1 << 16


class Replay:
    """The calls of a recording on an allocator of the program's own, and what each gives."""

    def __init__(self, program):
        self.program = program
        self.own = program.lent(program.call("tlsf_size") + PAGE & -PAGE)
        assert program.call("tlsf_create", self.own) == self.own
        self.start = program.mapped(10 * STEP)
        self.pools, self.blocks = {}, []

    def line(self, text):
        kind, *numbers = text.partition(" =")[0].split()
        given = getattr(self, f"do_{kind}")(*map(int, numbers))
        return f"{text.partition(' =')[0]} ={''.join(f' {number}' for number in given)}"

    def offset(self, block):
        return [block - self.start if block else -1]

    def do_n(self, number, size):
        if number in self.pools:
            return [-1]
        place = self.start + number * STEP
        self.program.lend(place, size)
        assert self.program.call("tlsf_add_pool", self.own, place, size) == place
        self.pools[number] = size
        return [1]

    def do_d(self, number, _):
        if number not in self.pools:
            return [-1]
        place = self.start + number * STEP
        is_removed = self.program.call("tlsf_remove_pool", self.own, place)
        if is_removed:
            self.program.take_home(place)
            del self.pools[number]
        return [is_removed]

    def do_w(self, number, _):
        if number not in self.pools:
            return []
        place = self.start + number * STEP
        found = self.program.visited("tlsf_walk_pool", place)
        used, unused = (sum(size for _, size, is_used in found if is_used == each) for each in (1, 0))
        return [used, unused, self.program.call("tlsf_check_pool", place) + self.program.call("tlsf_check", self.own)]

    def do_m(self, _, size):
        self.blocks.append(self.program.give("tlsf_malloc", self.own, size, size=size))
        return self.offset(self.blocks[-1])

    def do_f(self, number, _):
        if block := self.blocks[number]:
            self.program.take(block, "tlsf_free", self.own, block)
        return []

    def do_r(self, number, size):
        block = self.blocks[number]
        if block == 0:
            self.blocks[number] = self.program.give("tlsf_realloc", self.own, 0, size, size=size)
            return self.offset(self.blocks[number])
        moved = self.program.resize(block, size, "tlsf_realloc", self.own, block, size)
        self.blocks[number] = moved or block
        return self.offset(moved)


def differences(program, text):
    """The calls of a recording that gave something else, as (line, what it gave), up to the first one."""
    replay = Replay(program)
    for number, line in enumerate(text.splitlines()[1:]):
        given = replay.line(line)
        if given != line.rstrip():
            return [(line, given)]
        if number % 80 == 0:
            program.check()
    program.check()
    return []
