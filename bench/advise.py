"""Which malloc each of some programs should have: `heapwright advise` on one that fragmentation drives, and on others.

    python bench/advise.py -o bench/results/advise.json

Most of the programs use much memory, free most of it, and wait, as a server between requests. `bursts` is
examples/memory; the others are Debian's python3, perl, sqlite3 and redis-server under redis-benchmark. `all live` keeps
everything, `leak` forgets what it allocates, and `gzip` allocates once. A busy machine disturbs wall times; the judging
runs take turns, so that a load which changes slowly cancels.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from heapwright.advise.candidates import OURS, grid
from heapwright.advise.question import Question, about_program, answer
from heapwright.advise.search import Plan
from heapwright.lab.inputs.services import REDIS
from heapwright.lab.machine_facts import machine_facts

ROOT = Path(__file__).resolve().parent.parent
MEMORY = ROOT / "examples" / "memory"
PYTHON = """
import json, time
rows = [json.dumps({"id": i, "name": "n" * (i % 4000), "tags": [i] * 20}) for i in range(8000)]
kept = [json.loads(row) for row in rows][::40]
del rows
time.sleep(0.7)
"""
PERL = """
my %h; $h{$_} = "x" x ($_ % 3000) for 1..40000;
delete @h{grep { $_ % 25 } keys %h};
select(undef, undef, undef, 0.7);
"""
SQL = """
create table t(a integer primary key, b text, c blob);
with recursive n(i) as (select 1 union all select i + 1 from n where i < 20000)
  insert into t select i, 'row ' || (i * 7919 % 1000003), zeroblob(i % 2000) from n;
create index by_b on t(b);
select substr(b, 1, 6) as head, count(*), length(group_concat(a)) from t group by head order by 2 desc limit 3;
delete from t where a % 20;
drop index by_b;
vacuum;
.shell sleep 0.7
"""
LIVE = """
import time
kept = [bytes(1500) for _ in range(40000)]
time.sleep(0.7)
"""
LOAD = """
for i in $(seq 200); do redis-cli -s socket ping >/dev/null 2>&1 && break; sleep 0.05; done
for size in 100 900 400; do
  redis-benchmark -s socket -q -P 16 -c 10 -r 40000 -n 60000 -t set -d $size >/dev/null 2>&1
done
redis-cli -s socket --scan | awk 'NR % 25 { print "DEL", $1 }' | redis-cli -s socket --pipe >/dev/null
"""
TEXT = "".join(f"line {i * 7919 % 1000003}\n" for i in range(500_000))


class Case(NamedTuple):
    """A command, the files that it needs in its folder, and how it is driven if it is a server."""

    name: str
    command: tuple[str, ...]
    files: dict[str, str]
    load: str = ""


CASES = (
    Case("perl", ("perl", "work.pl"), {"work.pl": PERL}),
    Case("sqlite", ("sqlite3", "-init", "work.sql", ":memory:", ".quit"), {"work.sql": SQL}),
    Case("python", ("python3", "work.py"), {"work.py": PYTHON}),
    Case("all live", ("python3", "work.py"), {"work.py": LIVE}),
    Case("redis", ("redis-server", "redis.conf"), {"redis.conf": REDIS, "load.sh": LOAD}, "sh load.sh"),
    Case("leak", ("./leak",), {"leak.c": (MEMORY / "answers.c").read_text()}),
    Case("gzip", ("gzip", "-k", "-f", "text"), {"text": TEXT}),
    Case("bursts", ("python3", str(MEMORY / "bursts.py")), {}),
)


def main() -> None:
    options = parse()
    found: list[dict[str, Any]] = []
    for case in CASES:
        if is_there(case) and (not options.only or case.name in options.only):
            plan = Plan(options.rounds, options.repeats, options.goal)
            found.append({"case": case.name, **measured(case, plan, options.ours)})
            write(options.output, found)


def is_there(case: Case) -> bool:
    """Whether the program is installed, or made for the case."""
    return case.command[0].startswith("./") or bool(shutil.which(case.command[0]))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--only", action="append", help="this case; may be repeated")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--goal", default="memory")
    parser.add_argument("--no-ours", dest="ours", action="store_false", help="without heapwright's allocators")
    return parser.parse_args()


def measured(case: Case, plan: Plan, with_ours: bool) -> dict[str, Any]:
    """The answer on one program, which runs in a folder of its own."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory(prefix="advise-") as folder:
        for name, text in case.files.items():
            Path(folder, name).write_text(text)
            if name.endswith(".c"):
                compiled(Path(folder, name))
        os.chdir(folder)
        try:
            question = about_program(case.command, case.load, 1.0, 300.0)
            report = answer(question, () if with_ours else without_ours(question), plan, say)
        finally:
            os.chdir(before)
    say(f"{case.name}: {report['sentence']}")
    return report


def compiled(source: Path) -> None:
    subprocess.run(["gcc", "-g", "-O1", "-o", source.with_suffix(""), source], check=True)


def without_ours(question: Question) -> list[str]:
    return [each.text for each in grid(question.today) if each.family != OURS]


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201


def write(path: Path, found: list[dict[str, Any]]) -> None:
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    head = {"date": datetime.now(UTC).date().isoformat(), "commit": commit.stdout.strip(), "machine": machine_facts()}
    path.write_text(json.dumps({**head, "cases": [short(each) for each in found]}, indent=1) + "\n")


def short(report: dict[str, Any]) -> dict[str, Any]:
    """A report as it is kept: without this machine's paths and with curves of at most 60 points."""
    kept = ("case", "sentence", "verdict", "goal", "recommended", "todays_malloc", "reasons", "live_share", "holders")
    courses = {name: course[:: -(-len(course) // 60)] for name, course in report["courses"].items()}
    rows = {name: report[name] for name in ("search", "today", "judged")}
    return {**{name: report[name] for name in kept}, **rows, "courses": courses}


if __name__ == "__main__":
    main()
