"""A small real program to record: parse, index and print a few hundred lines of text."""

from __future__ import annotations

import json
import re
import textwrap
from collections import Counter, defaultdict


def words_of(text: str) -> list[str]:
    return re.findall(r"[a-z]+", text.lower())


def main() -> None:
    text = "\n".join(module.__doc__ or "" for module in (json, re, textwrap)) * 4
    lines: defaultdict[str, list[int]] = defaultdict(list)
    for number, line in enumerate(text.splitlines()):
        for word in words_of(line):
            lines[word].append(number)
    index = json.dumps(lines, sort_keys=True)
    common = Counter(words_of(text)).most_common(3)
    print(f"{len(json.loads(index))} words; the most common are {', '.join(word for word, _ in common)}")


if __name__ == "__main__":
    main()
