"""A reader of `.hwt` files, written from docs/trace-format.md alone, without heapwright and numpy."""

from __future__ import annotations

import json
import math
import struct
import sys
import zlib

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


class File:
    """A whole file: its header, its stacks as lists of frames, and the events of each process as dicts."""

    def __init__(self, data):
        self.data = data
        assert data[:16] == b"HWTRACE\0" + struct.pack("<II", 2, 0)
        offset, crc, end = struct.unpack("<QI4s", data[-16:])
        assert end == b"HWT\n"
        assert zlib.crc32(data[-16:-8]) == crc
        self.head = json.loads(self.frame(offset, b"HEAD"))
        self.frames, self.parents, self.innermost, self.sites = self.read_stacks()
        self.processes = [[] for _ in self.head["processes"]]
        for entry in self.head["index"]:
            content = self.frame(entry["offset"], b"CHNK")
            self.processes[entry["process"]] += events(content, entry["events"], entry["first_block"])

    def frame(self, offset, name):
        found, crc, length = struct.unpack_from("<4sIQ", self.data, offset)
        assert found == name
        assert zlib.crc32(self.data[offset + 8 : offset + 16 + length]) == crc
        return self.data[offset + 16 : offset + 16 + length]

    def read_stacks(self):
        content = self.frame(self.head["stacks"], b"STCK")
        parents, at = column(content, 0)
        innermost, at = column(content, at)
        text, at = column(content, at)
        sites, at = column(content, at)
        assert at == len(content)
        return json.loads(bytes(text)), parents, innermost, sites

    def requested(self, process):
        """The bytes that a process asked for; in a sample, an estimate."""
        rate, total = self.head["processes"][process].get("sample", 0), 0
        for row in self.processes[process]:
            if row["op"] in (1, 2, 3) and row["flags"] == 0:
                total += row["size"] / (-math.expm1(-(row["size"] + 1) / rate) if rate else 1)
        return total

    def stack(self, site):
        """The frames of a site's stack, innermost first."""
        found, number = [], self.sites[site] if self.sites else site
        while number:
            found.append(self.frames[self.innermost[number]])
            number = self.parents[number]
        return found


def column(content, at):
    """The numbers of the column at an offset, and the offset after it."""
    width, count, packed = struct.unpack_from("<BII", content, at)
    planes = zstd.decompress(content[at + 9 : at + 9 + packed])
    assert len(planes) == width * count
    numbers = [sum(planes[byte * count + place] << 8 * byte for byte in range(width)) for place in range(count)]
    return numbers, at + 9 + packed


def events(content, count, started):
    """The events of a chunk, before which so many blocks had started."""
    columns, at = [], 0
    for _ in range(5):
        numbers, at = column(content, at)
        columns.append(numbers)
    optional = {}
    while at < len(content):
        letter = content[at : at + 1]
        optional[letter], at = column(content, at + 1)
    kind, thread = columns[0], columns[1]
    align, size, since = map(iter, columns[2:])
    counts, times, sites = (
        iter(optional.get(b"c", [])),
        optional.get(b"t", [0] * count),
        optional.get(b"s", [0] * count),
    )
    found, now = [], 0
    for place in range(count):
        op, begins, now = kind[place] & 7, kind[place] >> 3 & 1, now + times[place]
        started += begins
        row = {"op": op, "flags": kind[place] >> 4, "thread": thread[place], "time": now, "site": sites[place]}
        row["log2_align"] = next(align) if op in (1, 2) else 0
        row["size"] = next(size) if op in (1, 2, 3) else 0
        row["count"] = next(counts) if op == 2 and b"c" in optional else 1
        row["block"] = block_of(op, begins, started, since)
        found.append(row)
    assert [next(rest, None) for rest in (align, size, since, counts)] == [None] * 4
    return found


def block_of(op, begins, started, since):
    if begins:
        return started - 1
    distance = next(since) if op in (3, 4) else 0
    return started - distance if distance else -1
