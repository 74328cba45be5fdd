"""Unwind tables, read by the dialect's own functions and by binutils: for each address of a library, one rule."""

from __future__ import annotations

import mmap
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from heapwright import elf
from heapwright.memory import BufferMemory
from heapwright.native.runtime.stacks import rules, tables
from heapwright.native.runtime.stacks.encoded import sleb_at, uleb_at
from heapwright.native.runtime.stacks.instructions import Program

EH_FRAME_HEADER = 0x6474E550
LIBRARIES = [Path("/lib/x86_64-linux-gnu", name) for name in ("libc.so.6", "libstdc++.so.6", "libz.so.1")]
SPACE = 1 << 33  # where the program's own words lie, beyond all addresses of the file
FUNCTION = re.compile(r"^[0-9a-f]+ [0-9a-f]+ [0-9a-f]+ FDE .* pc=([0-9a-f]+)\.\.([0-9a-f]+)")

ROW = re.compile(r"   LOC|[0-9a-f]{16} ")


class Image(BufferMemory):
    """A file as it is loaded at address 0, and some words of scratch memory."""

    def __init__(self, path):
        data = path.read_bytes()
        size = max(address + length for _, _, address, length in self.segments(path))
        super().__init__(bytearray(size))
        for _, offset, address, length in self.segments(path):
            self.data[address : address + length] = data[offset : offset + length]
        self.scratch = BufferMemory(bytearray(Program.SIZE))

    @staticmethod
    def segments(path):
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return [each for each in elf.segments(data) if each[0] == elf.LOADED]

    def load(self, address, size):
        return super().load(address, size) if address < SPACE else self.scratch.load(address - SPACE, size)

    def store(self, address, size, value):
        self.scratch.store(address - SPACE, size, value)

    def fill(self, address, size, byte):
        self.scratch.data[address - SPACE : address - SPACE + size] = bytes([byte]) * size

    def copy(self, target, source, size):
        self.scratch.data[target - SPACE : target - SPACE + size] = self.scratch.data[source - SPACE :][:size]


def index_of(path):
    """The address of a file's .eh_frame_hdr."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return next(address for kind, _, address, _ in elf.segments(data) if kind == EH_FRAME_HEADER)


def functions(path):
    """The rows of each function of a library, under the function's range of addresses."""
    done = subprocess.run(["readelf", "-wFN", path], capture_output=True, text=True, check=False)
    assert done.stdout, done.stderr  # it may miss a supplementary file, and fail
    for block in re.split(r"\n(?=[0-9a-f]{8,} [0-9a-f]+ )", done.stdout):
        head = FUNCTION.match(block)
        lines = [line.split() for line in block.splitlines()[1:] if ROW.match(line)]
        if head and lines and "(r" not in block:  # the columns of a function that keeps registers in others differ
            yield int(head[1], 16), int(head[2], 16), [dict(zip(lines[0], row, strict=False)) for row in lines[1:]]


def expected(row):
    """A rule as text, from binutils' row: the CFA, then rbp."""
    cfa = row["CFA"].replace("rsp", "sp").replace("rbp", "bp")
    return "last" if row["ra"] == "u" else f"{cfa} {row.get('rbp', 'u')}"


def found(rule):
    """A rule as text, as binutils write it."""
    kind, offset = rules.kind_of(rule), rules.offset_of(rule)
    names = {rules.BY_SP: f"sp+{offset}", rules.BY_BP: f"bp+{offset}", rules.LAST: "last"}
    if kind == rules.LAST:
        return "last"
    saved = rules.bp_offset_of(rule)
    where = {rules.BP_SAME: "u", rules.BP_BY_CFA: f"c{saved:+}"}
    return f"{names.get(kind, 'exp')} {where.get(rules.bp_of(rule), 'exp')}"


@pytest.mark.long
@pytest.mark.skipif(shutil.which("readelf") is None, reason="readelf (binutils) is not installed")
@pytest.mark.parametrize("path", [each for each in LIBRARIES if each.exists()], ids=lambda path: path.name)
def test_binutils_find_the_same_rules(path):
    image, index = Image(path), index_of(path)
    program = Program(image, SPACE)
    checked = 0
    known = list(functions(path))
    for start, end, rows in known[:: max(1, len(known) // 100)]:
        places = [int(row["LOC"], 16) for row in rows]
        for place, following, row in zip(places, [*places[1:], end], rows, strict=True):
            for address in {place, following - 1}:
                rule = tables.rule_at(image, index, address, program)
                if rules.kind_of(rule) == rules.SIGNAL:
                    continue
                assert found(rule) == expected(row), (hex(start), hex(address))
                checked += 1
    assert checked > 100


def test_no_rule_outside_the_tables():
    path = LIBRARIES[0]
    image, index = Image(path), index_of(path)
    for address in (0, 1, 1 << 32, index):
        assert tables.rule_at(image, index, address, Program(image, SPACE)) == rules.NO_TABLE


def test_signal_frames_and_linkage_tables_are_known():
    path = LIBRARIES[0]
    image, index = Image(path), index_of(path)
    program = Program(image, SPACE)
    starts = [start for start, _, rows in functions(path) if any(row["CFA"] == "exp" for row in rows)]
    kinds = [rules.kind_of(tables.rule_at(image, index, start + 0x20, program)) for start in starts]
    assert rules.BY_STUB in kinds
    assert rules.SIGNAL in [rules.kind_of(tables.rule_at(image, index, start + 1, program)) for start in starts]


@pytest.mark.parametrize(
    ("data", "number"), [(b"\x00", 0), (b"\x7f", 127), (b"\x80\x01", 128), (b"\xe5\x8e\x26", 624485)]
)
def test_unsigned_leb128(data, number):
    assert uleb_at(BufferMemory(data), 0) == (number, len(data))


@pytest.mark.parametrize(("data", "number"), [(b"\x78", -8), (b"\x80\x7f", -128), (b"\x3f", 63), (b"\xff\x00", 127)])
def test_signed_leb128(data, number):
    assert sleb_at(BufferMemory(data), 0) == (number, len(data))


@pytest.mark.parametrize("offset", [8, 16, 1 << 20, -8, (1 << 26) - 8])
@pytest.mark.parametrize("saved", [-16, -(1 << 14), 8])
def test_a_rule_keeps_its_parts(offset, saved):
    rule = rules.in_module(rules.rule_of(rules.BY_BP, offset, rules.BP_BY_CFA, saved), 4095)
    rule = rules.with_role(rule, rules.EVALUATES)
    assert (rules.role_of(rule), rules.module_in(rule)) == (rules.EVALUATES, 4095)
    parts = rules.kind_of(rule), rules.offset_of(rule), rules.bp_of(rule), rules.bp_offset_of(rule)
    assert parts == (rules.BY_BP, offset, rules.BP_BY_CFA, saved)


def test_a_rule_has_no_room_for_some_numbers():
    assert rules.rule_of(rules.BY_SP, 1 << 26, rules.BP_SAME, 0) == rules.NO_TABLE
    assert rules.bp_of(rules.rule_of(rules.BY_SP, 8, rules.BP_BY_CFA, 1 << 14)) == rules.BP_LOST
    assert rules.rule_of(rules.BY_SP, 12, rules.BP_SAME, 0) == rules.NO_TABLE
