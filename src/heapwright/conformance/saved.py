"""A failing story as a user program, which `heapwright simulate` can run step by step."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

WHICH, AGAIN = r"(?P<k>\d+)", "(?P<again> and all that follow)?"
Match = re.Match[str]


def once(match: Match) -> str:
    return "" if match["again"] else ", once=True"


# The lines of stories as calls of `heapwright.programs.story`. Other lines become comments.
STATEMENTS: dict[str, Callable[[Match], str]] = {
    r"(?P<all>(?:\w+ = )?(?:alloc|alloc_zeroed|realloc|free|usable_size|trim)\([\w, -]*\))": lambda m: m["all"],
    r"sbrk\((?P<size>-?\d+)\), by the program": lambda m: f"sbrk({m['size']})",
    r"thread (?P<number>\d+) goes on": lambda m: f"thread({m['number']})",
    r"(?:thread \d+|the thread) ends": lambda m: "thread_exit()",
    r"the kernel gives no more memory": lambda m: "refuse_memory(1)",
    rf"the kernel refuses request {WHICH} for memory{AGAIN}": lambda m: f"refuse_memory({m['k']}{once(m)})",
    rf"the kernel refuses return {WHICH} of memory{AGAIN}": lambda m: f"refuse_returns({m['k']}{once(m)})",
    rf"somebody moves the break before rise {WHICH}{AGAIN}": lambda m: f"move_break({m['k']}{once(m)})",
    r"the break rises (?P<k>\d+) times": lambda m: f"stop_break({int(m['k']) + 1})",
    r"the machine has (?:no|(?P<spare>\d+)) more frames": lambda m: f"no_more_frames({m['spare'] or ''})",
    r"the kernel (?:gives memory|takes memory back) again": lambda m: "relent()",
}


def can_be_played(lines: Iterable[str]) -> bool:
    """Whether lines are a story; a table of threads and messages of the linter are not."""
    return any(re.match(r"\w+ = alloc(_zeroed)?\(", statement(line)) for line in lines)


def statement(line: str) -> str:
    """The call for a line of a story, or a comment."""
    told = line.partition(" -> ")[0]
    for pattern, write in STATEMENTS.items():
        match = re.fullmatch(pattern, told)
        if match:
            return write(match)
    return f"# {line}"


def program(title: str, lines: Iterable[str], command: str) -> str:
    """The source of a program that makes the requests of a story; the command runs it."""
    statements = [*map(statement, lines), "end()"]
    used = sorted({match[1] for each in statements if (match := re.search(r"(\w+)\(", each)) and each[0] != "#"})
    body = "\n".join(f"    {each}" for each in statements)
    docstring = f'"""{title}\n\n    {command}\n"""'.replace("\\", "/")
    return f"{docstring}\n\nfrom heapwright.programs.story import {', '.join(used)}\n\n\ndef main(_):\n{body}\n"
