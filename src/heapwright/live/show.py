"""One address explained: its mapping, its block, the neighbours, its bytes, and what points to it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np

from heapwright.live.errors import InspectError, Unreadable
from heapwright.live.extent import Extent, copy_of
from heapwright.live.findings import BlockList, Look
from heapwright.live.glibc.chunks import HEADER, OVERHEAD
from heapwright.live.glibc.states import TOP, Chunks
from heapwright.live.pages import PAGE
from heapwright.live.references import pointing_to
from heapwright.spans import FREE, KINDS, USED

MAX_BYTES, MAX_POINTERS = 64, 20


def explain(look: Look, data: list[Extent], address: int) -> dict[str, Any]:
    """The facts about an address. Raises InspectError if nothing is mapped there."""
    mapping = look.source.mappings.at(address)
    if mapping is None:
        raise InspectError(f"nothing is mapped at {address:#x}")
    facts: dict[str, Any] = {"address": address, "mapping": str(mapping), "block": block_at(look, address)}
    block = facts["block"]
    start, size = (block["start"], block["size"]) if block else (address, 8)
    facts["bytes"] = hexadecimal(look, start, min(size, MAX_BYTES))
    pointers = list(islice(pointing_to(look, data, start, start + size), MAX_POINTERS))
    facts["pointers"] = [{"at": place, "in": where(look, place)} for place in pointers]
    return facts


def block_at(look: Look, address: int) -> dict[str, Any] | None:
    """The block that contains an address, with its neighbours; None if there is none."""
    for chunks in look.chunks:
        if int(chunks.run.places[0]) + OVERHEAD <= address < chunks.run.end:
            index = int(np.searchsorted(chunks.run.places + OVERHEAD, address, side="right")) - 1
            around = neighbours_of(index, len(chunks.kinds))
            neighbours = [described(look, chunks, each) for each in around]
            return {**described(look, chunks, index), "arena": chunks.arena.name, "neighbours": neighbours}
    for chunk in look.mapped:
        if chunk.start <= address < chunk.end:
            block = live_block(look, chunk.address, chunk.end - chunk.address)
            return {**block, "arena": "a mapping of its own", "neighbours": []}
    return next(filter(None, (block_in(look, blocks, address) for blocks in lists_of(look))), None)


def lists_of(look: Look) -> list[BlockList]:
    return look.other_blocks + ([look.python_blocks] if look.python_blocks else [])


def block_in(look: Look, blocks: BlockList, address: int) -> dict[str, Any] | None:
    """The live block of a list that contains an address. Its neighbours are the nearest live ones."""
    index = int(np.searchsorted(blocks.starts, address, side="right")) - 1
    if index < 0 or address >= blocks.ends[index]:
        return None
    found, *neighbours = [
        live_block(look, int(blocks.starts[each]), int(blocks.ends[each] - blocks.starts[each]))
        for each in (index, *neighbours_of(index, len(blocks.starts)))
    ]
    return {**found, "arena": blocks.heap, "neighbours": neighbours}


def neighbours_of(index: int, count: int) -> list[int]:
    return [each for each in (index - 1, index + 1) if 0 <= each < count]


def live_block(look: Look, start: int, size: int) -> dict[str, Any]:
    return {"start": start, "size": size, "state": KINDS[USED], "kind": kind_at(look, start, size)}


def kind_at(look: Look, start: int, size: int) -> str:
    """The kind of a live block, from its first words."""
    mapping = look.source.mappings.at(start)
    end = min(mapping.end, start + 2 * PAGE & -PAGE) if mapping else start
    copy = copy_of(look.source, start & -PAGE, end, look.image.with_swapped)
    return look.kinds.names[int(look.kinds.of(copy, np.array([start], np.int64), np.array([size], np.int64))[0])]


def described(look: Look, chunks: Chunks, index: int) -> dict[str, Any]:
    """One chunk of glibc's, whatever its state."""
    start = int(chunks.run.places[index]) + HEADER
    size = chunks.run.size(index) - OVERHEAD
    state = FREE if chunks.kinds[index] == TOP else int(chunks.kinds[index])
    return live_block(look, start, size) if state == USED else {"start": start, "size": size, "state": KINDS[state]}


def hexadecimal(look: Look, start: int, size: int) -> list[str]:
    """Lines of 16 bytes, in hexadecimal and as text."""
    try:
        data = look.image.bytes_at(start, size)
    except Unreadable as error:
        return [str(error)]
    return [line_of(start + at, data[at : at + 16]) for at in range(0, len(data), 16)]


def line_of(address: int, data: bytes) -> str:
    letters = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in data)
    return f"{address:#x}  {data.hex(' '):<47}  {letters}"


def where(look: Look, place: int) -> str:
    """The owner of a place: a block, a variable, a stack."""
    block = block_at(look, place)
    if block:
        kind = f" ({block['kind']})" if "kind" in block else ""
        return f"{block['state']} block at {block['start']:#x}{kind}, {place - block['start']:+} bytes"
    return next(variables_at(look, place), "") or mapping_at(look, place)


def variables_at(look: Look, place: int) -> Iterator[str]:
    for module in look.source.modules():
        if any(place in mapping for mapping in module.mappings) or module.bss[0] <= place < module.bss[1]:
            name = module.path.rpartition("/")[2]
            symbols = module.elf.symbols.values()
            inside = (each for each in symbols if each.address <= place - module.bias < each.address + each.size)
            symbol = next(inside, None)
            yield f"{symbol.name} in {name}" if symbol else f"data of {name}"


def mapping_at(look: Look, place: int) -> str:
    if any(start <= place < end for start, end in look.stacks):
        return "a thread's stack"
    mapping = look.source.mappings.at(place)
    return mapping.path or "other memory" if mapping else "memory that has gone"
