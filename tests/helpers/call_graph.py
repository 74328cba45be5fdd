"""Which functions of other libraries a compiled malloc can reach from each of its exports, by its machine code."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

FUNCTION = re.compile(r"^[0-9a-f]+ <(\S+)>:$")
TARGET = re.compile(r"\s(?:call|j\w+)\s+[0-9a-f]+ <([^>+]+)(?:\+0x[0-9a-f]+)?>")
ADDRESS = re.compile(r"\slea\s.*# [0-9a-f]+ <([^>+@]+)>")
SLOT = re.compile(r"# ([0-9a-f]+) <")
INDIRECT = re.compile(r"\scall\s+\*")
RELOCATION = re.compile(r"^0*([0-9a-f]+)\s+R_X86_64_(?:GLOB_DAT|JUMP_SLO\w*|DTPMOD64)\s+([^@\s]+)", re.M)
BOUND = "@plt"  # ends the name of what the dynamic linker looks up, be it this library's own
ANYTHING = "what an address says"


class CallGraph(NamedTuple):
    """For each function of a library, what it calls, jumps to, or takes the address of."""

    uses: dict[str, set[str]]
    exports: set[str]

    def reached(self, roots: Iterable[str]) -> set[str]:
        """All that can be reached from functions, these included."""
        seen, waiting = set(), list(roots)
        while waiting:
            each = waiting.pop()
            if each not in seen:
                seen.add(each)
                waiting += self.uses.get(each, ())
        return seen

    def imports(self, *roots: str) -> set[str]:
        """The names of what the dynamic linker looked up; `ANYTHING` for a call whose target the code does not name."""
        found = self.reached(roots)
        return {each.removesuffix(BOUND) for each in found if each.endswith(BOUND) or each == ANYTHING}


def output_of(*command: str | Path) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def call_graph(library: Path) -> CallGraph:
    slots = {place: name + BOUND for place, name in RELOCATION.findall(output_of("objdump", "-R", library))}
    uses: dict[str, set[str]] = {}
    for line in output_of("objdump", "-d", "--no-show-raw-insn", "--section=.text", library).splitlines():
        head = FUNCTION.match(line)
        if head:
            current = uses.setdefault(head[1], set())
        elif uses:
            current |= used_by(line, slots)
    exports = set(re.findall(r" [TW] (\S+)$", output_of("nm", "-D", "--defined-only", library), re.M))
    return CallGraph(under_all_names(uses, library), exports)


def used_by(line: str, slots: dict[str, str]) -> set[str]:
    """What an instruction names: the objdump writes a call through the linkage table as one of `NAME@plt`."""
    found = {*TARGET.findall(line), *ADDRESS.findall(line)}
    if INDIRECT.search(line):
        found.add(ANYTHING)
    return found | {slots[place] for place in SLOT.findall(line) if place in slots}


def under_all_names(uses: dict[str, set[str]], library: Path) -> dict[str, set[str]]:
    """The same, with each name of a function: objdump shows one."""
    places = re.findall(r"^(\w+) [TtWw] (\S+)$", output_of("nm", library), re.M)
    shown = {place: name for place, name in places if name in uses}
    return uses | {name: uses[shown[place]] for place, name in places if place in shown}
