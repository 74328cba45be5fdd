"""A script of requests in one line, as a program: `a = alloc 24; free a`.

    alloc SIZE [ALIGN]      zeroed SIZE [ALIGN]     a request, best kept in a name: a = alloc 24
    realloc NAME SIZE       free NAME               usable NAME         trim

Semicolons or lines separate the requests. Those of a story that `heapwright check` shows can be pasted as they are.
"""

from __future__ import annotations

import linecache
import re
from typing import NoReturn

from heapwright.errors import UserError, suggestion
from heapwright.programs import story
from heapwright.programs.user import Args, Main

FILE = "script"  # the name of the source, whose lines are the requests
REQUESTS = {
    "alloc": story.alloc,
    "zeroed": story.alloc_zeroed,
    "alloc_zeroed": story.alloc_zeroed,
    "realloc": story.realloc,
    "free": story.free,
    "usable": story.usable_size,
    "usable_size": story.usable_size,
    "trim": story.trim,
}
GIVES_A_BLOCK = {"alloc", "zeroed", "alloc_zeroed", "realloc"}
OF_A_BLOCK = {"realloc", "free", "usable", "usable_size"}
NUMBERS = {"alloc": (1, 2), "zeroed": (1, 2), "alloc_zeroed": (1, 2), "realloc": (1, 1)}  # (least, most)
KNOWN = f"there are {', '.join(REQUESTS)}"
REQUEST = re.compile(r"(?:(?P<kept>[a-z_]\w*)\s*=\s*)?(?P<name>[a-z_]+)(?P<given>(?:\s+\w+)*)")


class BadScript(UserError):
    """A request that cannot be read; the text, one line, says which and why."""


def main_of(text: str) -> Main:
    """The `main` of a script."""
    requests = [each.strip() for each in re.split(r"[;\n]", text) if each.strip()]
    if not requests:
        raise BadScript("the script is empty: write requests such as 'a = alloc 24; free a'")
    known: set[str] = set()
    source = "".join(f"{statement(request, known)}\n" for request in requests)
    linecache.cache[FILE] = (len(source), None, [f"{request}\n" for request in requests], FILE)
    code = compile(source, FILE, "exec")

    def main(_: Args) -> NoReturn:
        exec(code, dict(REQUESTS))  # noqa: S102  made of the requests above only
        story.end()

    return main


def statement(request: str, known: set[str]) -> str:
    """A request as a statement; `known` gets the name of its block."""
    words = re.sub(r"[(),]", " ", request.partition("->")[0]).strip()
    match = REQUEST.fullmatch(words)
    if match is None:
        raise BadScript(f"'{request}' is no request: write one such as 'a = alloc 24'")
    name, given = match["name"], match["given"].split()
    if name not in REQUESTS:
        raise BadScript(f"'{request}': there is no request '{name}': {suggestion(name, REQUESTS, KNOWN)}")
    block = given[:1] if name in OF_A_BLOCK else []
    if name in OF_A_BLOCK and (not block or block[0] not in known):
        raise BadScript(f"'{request}': {name} needs the name of a block, such as 'a' of 'a = alloc 24'")
    numbers = [size_of(each, request) for each in given[len(block) :]]
    least, most = NUMBERS.get(name, (0, 0))
    if not least <= len(numbers) <= most:
        raise BadScript(f"'{request}': {name} takes {wanted(least, most)}, not {len(numbers)}")
    kept = match["kept"] or (block[0] if name == "realloc" else "")
    if kept and name in GIVES_A_BLOCK:
        known.add(kept)
    given_block = [f"block_{each}" for each in block]  # so that a name may be any word
    return f"{f'block_{kept} = ' if kept else ''}{name}({', '.join([*given_block, *map(str, numbers)])})"


def size_of(word: str, request: str) -> int:
    try:
        return int(word, 0)
    except ValueError:
        raise BadScript(f"'{request}': '{word}' is not a number of bytes") from None


def wanted(least: int, most: int) -> str:
    return f"{least} to {most} numbers" if least < most else f"{least} number" if least == 1 else "no number"
