"""Replays of what dlmalloc's spaces did: tools/record_spaces.py recorded the original."""

from pathlib import Path

from own_functions import PAGE

RECORDING = Path(__file__).parent.parent / "allocators" / "originals" / "spaces" / "dlmalloc.txt"
PROGRAMS = RECORDING.read_text().split("\n\n")[1:]


class Replay:
    """The calls of a recording on our heap, and what each gives."""

    def __init__(self, program):
        self.program = program
        self.spaces, self.blocks = [], []  # a block is [address, space, size, is live]

    def line(self, text):
        kind, *numbers = text.partition(" =")[0].split()
        given = getattr(self, f"do_{kind}")(*map(int, numbers))
        return f"{text.partition(' =')[0]} ={''.join(f' {number}' for number in given)}"

    def call(self, space, name, *arguments):
        """A function on a space, or the function of that name without `mspace_` on the program's heap."""
        if space < 0:
            plain = name if name in ("realloc_in_place", "bulk_free") or "independent" in name else f"malloc_{name}"
            return self.program.call(plain, *arguments)
        return self.program.call(f"mspace_{name}", self.spaces[space], *arguments)

    def named(self, space, name, *arguments):
        return (name, *arguments) if space < 0 else (f"mspace_{name}", self.spaces[space], *arguments)

    def offset(self, address):
        """From the start of the heap, or from the end of the mappings; 0 for null."""
        return address and address - self.program.corner_of(address)

    def kept(self, space, size, address):
        self.blocks.append([address, space, size, True])
        return self.offset(address)

    # --- the calls

    def do_c(self, capacity, *_):
        self.spaces.append(self.program.call("create_mspace", capacity, 1))
        return [self.offset(self.spaces[-1])]

    def do_b(self, capacity, *_):
        base = self.program.lent(-(-capacity // PAGE) * PAGE)
        self.spaces.append(self.program.call("create_mspace_with_base", base, capacity, 0))
        return [self.offset(self.spaces[-1])]

    def do_x(self, space, *_):
        for block in self.blocks:
            if block[1] == space and block[3]:
                self.program.forget(block[0])
                block[3] = False
        freed = self.program.call("destroy_mspace", self.spaces[space])
        self.program.take_home(self.spaces[space])
        return [freed]

    def do_q(self, space, is_tracking, _):
        return [self.call(space, "track_large_chunks", is_tracking)]

    def do_m(self, space, size, _):
        if space < 0:
            return [self.kept(space, size, self.program.alloc(size, 16))]
        return [self.kept(space, size, self.program.give("mspace_malloc", self.spaces[space], size, size=size))]

    def do_a(self, space, size, align):
        if space < 0:
            return [self.kept(space, size, self.program.alloc(size, align))]
        given = self.program.give("mspace_memalign", self.spaces[space], align, size, size=size, align=align)
        return [self.kept(space, size, given)]

    def resize(self, number, size, name):
        address, space, *_ = self.blocks[number]
        moved = self.program.resize(address, size, *self.named(space, name, address, size))
        if moved:
            self.blocks[number][0] = moved
        return [self.offset(moved)]

    def do_r(self, number, size, _):
        address, space, *_ = self.blocks[number]
        if space >= 0:
            return self.resize(number, size, "realloc")
        self.blocks[number][0] = self.program.realloc(address, size)
        return [self.offset(self.blocks[number][0])]

    def do_z(self, number, size, _):
        return self.resize(number, size, "realloc_in_place")

    def do_f(self, number, *_):
        address, space, *_ = self.blocks[number]
        self.blocks[number][3] = False
        if space < 0:
            self.program.dealloc(address)
        else:
            self.program.take(address, "mspace_free", self.spaces[space], address)
        return []

    def do_k(self, space, *numbers):
        for number in numbers:
            self.blocks[number][3] = False
        return [self.program.take_all([self.blocks[number][0] for number in numbers], *self.named(space, "bulk_free"))]

    def do_i(self, space, count, size):
        given = self.program.together(*self.named(space, "independent_calloc", count, size), sizes=[size] * count)
        assert not any(any(self.program.peek(block, size)) for block in given[:-1])
        return [self.kept(space, size, block) for block in given]

    def do_o(self, space, count, size):
        sizes = [size * (i + 1) % 777 for i in range(count)]
        array = self.program.array(sizes)
        given = self.program.together(*self.named(space, "independent_comalloc", count, array), sizes=sizes)
        return [self.kept(space, size, block) for block in given]

    def do_t(self, space, pad, _):
        if space < 0:
            self.program.trim(pad)
        else:
            self.call(space, "trim", pad)
        return []

    def do_p(self, option, value, _):
        return [self.program.call("mspace_mallopt", option, value)]

    def do_l(self, space, size, _):
        return [self.call(space, "set_footprint_limit", size)]

    def do_s(self, space, *_):
        name, *rest = ("malloc_inspect_all",) if space < 0 else ("mspace_inspect_all", self.spaces[space])
        chunks = self.program.visited(name, *rest)
        sizes = [self.call(space, each) for each in ("footprint", "max_footprint")]
        return [len(chunks), sum(used for _, _, used in chunks), *sizes]


def differences(program, text):
    """The calls of a recording that gave something else, as (line, what it gave), up to the first one."""
    replay = Replay(program)
    for number, line in enumerate(text.splitlines()[1:]):
        given = replay.line(line)
        if given != line.rstrip():
            return [(line, given)]
        if number % 50 == 0:
            program.check()
    program.check()
    return []
