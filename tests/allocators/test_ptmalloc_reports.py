"""ptmalloc in the machine reports each word that a program spoils; `tests/native` asks the same of compiled code."""

import re

import pytest
from corruptions import CASES, NAMES
from heaps import on

from heapwright.allocator import load
from heapwright.allocators.ptmalloc.state import SEGMENT_BYTES, Segment
from heapwright.allocators.ptmalloc.system import FENCE
from heapwright.machine import Fault, Kind, start
from heapwright.machine.shadow import ALLOCATOR, USER, WRITTEN

ROOMY = {"frames": 1 << 13, "page": 1 << 16, "maxva": 1 << 33}  # an arena of 64 MiB needs more addresses
DESIGNS = {spec: load(spec) for spec in ("ptmalloc", "ptmalloc[VERSION=236]")}
STEP = re.compile(r"(?P<free>-)?(?P<name>\w+)(?P<offset>\+-?\d+)?(?:(?P<sign>[=~[])(?P<rest>.*))?")
WRITE = re.compile(r"(?P<at>-?\d+)\](?P<flip>\^?)=(?P<value>.*)")


class Story:
    """Plays steps on a heap. The allocator may read what the program wrote into its blocks, as compiled code does."""

    def __init__(self, heap):
        self.heap, self.blocks = heap, {}

    def play(self, steps):
        for number, step in enumerate(steps):
            if step == "thread":
                with on(self.heap, self.heap.process.new_thread()):
                    self.play(steps[number + 1 :])
                    self.heap.thread_exit()
                return
            self.take(step)

    def take(self, step):
        part = STEP.fullmatch(step)
        name, sign, rest = part["name"], part["sign"], part["rest"]
        if name == "sbrk":
            self.heap.process.space.sbrk(int(rest), USER)  # `user.sbrk` would report it itself
        elif sign == "=" and name == "fence":
            segment = Segment(self.heap.memory, self.blocks[rest] & -SEGMENT_BYTES)
            self.blocks[name] = segment.address + segment.size - FENCE
        elif part["free"]:
            self.heap.dealloc(self.address(name, part["offset"]), unchecked=True)
        elif sign == "[":
            self.write(self.blocks[name], WRITE.fullmatch(rest))
        elif sign == "~":
            self.resize(self.address(name, part["offset"]), int(rest))
        else:
            size, _, align = rest.partition("@")
            self.blocks[name] = self.heap.alloc(int(size), int(align or 16))
            self.open(self.blocks[name], int(size))

    def address(self, name, offset):
        return self.blocks[name] + int(offset or 0)

    def resize(self, address, size):
        """Of what need not be a live block."""
        if address in self.heap.live:
            self.heap.realloc(address, size)
        else:
            self.heap.call("realloc", self.heap.allocator.module.realloc, address, 0, 16, size)

    def open(self, address, size):
        self.heap.process.space.shadow.add_bits(address, size, ALLOCATOR | WRITTEN)

    def write(self, block, part):
        place = block + int(part["at"])
        value = self.value(part["value"])
        if part["flip"]:
            value ^= int.from_bytes(self.heap.process.peek(place, 8), "little", signed=True)
        self.heap.process.poke(place, value.to_bytes(8, "little", signed=True))
        self.open(place, 8)

    def value(self, text):
        name, _, offset = text.partition("+")
        return int(text, 0) if re.match(r"-?\d", text) else self.address(name, offset)


@pytest.mark.parametrize(("spec", "reason", "name", "steps"), CASES, ids=NAMES)
def test_what_is_spoilt_is_reported(spec, reason, name, steps):
    options = ROOMY if "thread" in steps else {}
    story = Story(start(DESIGNS[spec], unwritten=False, **options))
    with pytest.raises(Fault) as caught:
        story.play(steps)
    assert caught.value.kind == Kind.MISUSE
    assert caught.value.what.partition(":")[0] == reason
