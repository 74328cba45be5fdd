"""Sources for compilers, a solver and a page renderer, and a repository."""

from __future__ import annotations

import subprocess
from pathlib import Path
from random import Random

C_FUNCTION = """
struct node_{i} {{ struct node_{i} *next; long key; char name[{size}]; }};
long walk_{i}(struct node_{i} *list, long key) {{
  long sum = 0;
  for (struct node_{i} *each = list; each; each = each->next) {{
    switch (each->key % {cases}) {{
      case 0: sum += each->key * key; break;
      case 1: sum ^= each->name[key % {size}]; break;
      default: for (int j = 0; j < {size}; j++) sum += each->name[j] * (j ^ key);
    }}
  }}
  return sum;
}}
"""
CPP_HEAD = "#include <algorithm>\n#include <map>\n#include <string>\n#include <vector>\n"
CPP_FUNCTION = """
struct key_{i} {{ long a[{size}]; bool operator<(const key_{i} &other) const {{ return a[0] < other.a[0]; }} }};
long work_{i}(const std::vector<key_{i}> &keys) {{
  std::map<key_{i}, std::string> words;
  for (auto &key : keys) words[key] += std::to_string(key.a[0]);
  std::vector<std::pair<std::string, key_{i}>> sorted;
  for (auto &[key, word] : words) sorted.emplace_back(word, key);
  std::sort(sorted.begin(), sorted.end(), [](auto &x, auto &y) {{ return x.first < y.first; }});
  return sorted.empty() ? 0 : sorted[0].second.a[0];
}}
"""
POSTSCRIPT = """
/Times-Roman findfont 9 scalefont setfont
/seed 1 def
/next {{ seed 16807 mul 2147483 mod /seed exch def seed }} bind def
1 1 {pages} {{
  /page exch def
  /words 600 dict def
  0 1 500 {{ dup 20 string cvs exch words 3 1 roll 40 string pop put }} for
  50 12 740 {{ /y exch def 40 y moveto (Page ) show page 10 string cvs show ( line ) show y 10 string cvs show
    20 {{ next 26 mod 65 add (x) dup 0 4 -1 roll put show }} repeat }} for
  40 {{ next 500 mod next 700 mod moveto 3 {{ next 500 mod next 700 mod }} repeat curveto
    next 100 mod 100 div setgray next 2 mod 0 eq {{ stroke }} {{ closepath fill }} ifelse }} repeat
  0 setgray showpage
}} for
"""


def c_source(folder: Path, scale: float) -> None:
    functions = (C_FUNCTION.format(i=i, size=8 + i % 50, cases=3 + i % 5) for i in range(int(80 * scale)))
    (folder / "work.c").write_text("".join(functions))


def cpp_source(folder: Path, scale: float) -> None:
    functions = (CPP_FUNCTION.format(i=i, size=1 + i % 9) for i in range(max(1, int(4 * scale))))
    (folder / "work.cc").write_text(CPP_HEAD + "".join(functions))


def postscript(folder: Path, scale: float) -> None:
    (folder / "work.ps").write_text("%!PS\n" + POSTSCRIPT.format(pages=max(1, int(80 * scale))))


def formulas(folder: Path, scale: float) -> None:
    """Bit-vector equations, each with a push and a pop, so that the solver builds and frees terms all the time."""
    chance = Random(1)
    lines = ["(set-logic QF_BV)"]
    for i in range(max(1, int(60 * scale))):
        lines.append("(push)")
        lines += [f"(declare-const {name}{i} (_ BitVec 16))" for name in "abcd"]
        a, b, c, d = (f"{name}{i}" for name in "abcd")
        lines.append(f"(assert (= (bvmul {a} {b}) (bvadd {c} #x{chance.randrange(1 << 16):04x})))")
        lines.append(f"(assert (= (bvadd (bvmul {c} {a}) {d}) #x{chance.randrange(1 << 16):04x}))")
        lines.append(f"(assert (bvult (bvurem {b} #x{chance.randrange(3, 1 << 8):04x}) {d}))")
        lines += ["(check-sat)", "(pop)"]
    (folder / "work.smt2").write_text("\n".join(lines) + "\n")


def git_repository(folder: Path, scale: float) -> None:
    """Make a repository with one branch, through `git fast-import`."""
    subprocess.run(["git", "init", "-q", "repository"], cwd=folder, check=True, capture_output=True)
    stream = "".join(commit(n) for n in range(1, int(3000 * scale) + 1))
    importer = ["git", "-C", "repository", "fast-import", "--quiet"]
    subprocess.run(importer, cwd=folder, input=stream.encode(), check=True, capture_output=True)
    point_head = ["git", "-C", "repository", "symbolic-ref", "HEAD", "refs/heads/bench"]
    subprocess.run(point_head, cwd=folder, check=True, capture_output=True)


def commit(n: int) -> str:
    text = "".join(f"line {i * n % 997} of file {n % 40}\n" for i in range(50 + n % 200))
    message = f"change {n}"
    return (
        f"commit refs/heads/bench\ncommitter bench <bench@bench.invalid> {1_700_000_000 + n} +0000\n"
        f"data {len(message)}\n{message}\nM 100644 inline folder{n % 5}/file{n % 40}\ndata {len(text)}\n{text}\n"
    )
