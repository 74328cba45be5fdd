"""Scripts and data for the bench's real programs. They are generated for each bench."""

from __future__ import annotations

import subprocess
from pathlib import Path

PYTHON = """
import json
words = {{f"key {{i}}": [i, str(i) * (i % 9), {{"n": i, "half": i / 2}}] for i in range({n})}}
for _ in range(3):
    words = json.loads(json.dumps(words))
groups = {{}}
for key, (i, text, more) in words.items():
    groups.setdefault(text, []).append((key, more["half"]))
print(sum(len(each) for each in groups.values()))
"""
PERL = """
my %h;
for my $i (1..{n}) {{ $h{{"k" . ($i * 7919 % 60013)}} .= chr(65 + $i % 26) x ($i % 13) }}
my @keys = sort {{ length($h{{$a}}) <=> length($h{{$b}}) || $a cmp $b }} keys %h;
print scalar(@keys), " ", join(",", @keys[0..4]), "\\n";
"""
LUA = """
local t, parts = {{}}, {{}}
for i = 1, {n} do
  t[i % 50021] = {{ name = ("x"):rep(i % 40) .. i, next = t[(i * 31) % 50021] and i }}
  if i % 7 == 0 then parts[#parts + 1] = t[i % 50021].name:upper() end
end
print(#table.concat(parts, ","))
"""
SQL = """
create table t(a integer primary key, b text, c real);
with recursive n(i) as (select 1 union all select i + 1 from n where i < {n})
  insert into t select i, 'row ' || (i * 7919 % 1000003), i / 3.0 from n;
create index by_b on t(b);
select count(*), sum(a), max(b) from t where b like 'row 1%';
select substr(b, 1, 6) as head, count(*), group_concat(a) from t group by head order by 2 desc limit 5;
select x.b, y.c from t x join t y on y.b = 'row ' || x.a where x.a % 5 = 0 order by x.b limit 20;
"""
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
REDIS = """
port 0
unixsocket socket
save ""
appendonly no
daemonize no
"""
REDIS_CLIENT = """
for i in $(seq 200); do redis-cli -s socket ping >/dev/null 2>&1 && break; sleep 0.05; done
for load in "-t set -d 100" "-t set -d 3000" "-t lpush,hset,get -d 64"; do
  timeout 60 redis-benchmark -s socket -q -P 16 -c 10 -r 20000 -n {n} $load >/dev/null 2>&1
done
redis-cli -s socket shutdown nosave >/dev/null 2>&1
"""


def python_script(folder: Path, scale: float) -> None:
    (folder / "work.py").write_text(PYTHON.format(n=int(40_000 * scale)))


def perl_script(folder: Path, scale: float) -> None:
    (folder / "work.pl").write_text(PERL.format(n=int(1_000_000 * scale)))


def lua_script(folder: Path, scale: float) -> None:
    (folder / "work.lua").write_text(LUA.format(n=int(400_000 * scale)))


def sqlite_script(folder: Path, scale: float) -> None:
    (folder / "work.sql").write_text(SQL.format(n=int(300_000 * scale)))


def c_source(folder: Path, scale: float) -> None:
    functions = (C_FUNCTION.format(i=i, size=8 + i % 50, cases=3 + i % 5) for i in range(int(80 * scale)))
    (folder / "work.c").write_text("".join(functions))


def git_repository(folder: Path, scale: float) -> None:
    """Make a repository with one branch, through `git fast-import`."""
    subprocess.run(["git", "init", "-q", "repository"], cwd=folder, check=True, capture_output=True)
    stream = "".join(commit(n) for n in range(1, int(3000 * scale) + 1))
    importer = ["git", "-C", "repository", "fast-import", "--quiet"]
    subprocess.run(importer, cwd=folder, input=stream, text=True, check=True, capture_output=True)
    point_head = ["git", "-C", "repository", "symbolic-ref", "HEAD", "refs/heads/bench"]
    subprocess.run(point_head, cwd=folder, check=True, capture_output=True)


def commit(n: int) -> str:
    text = "".join(f"line {i * n % 997} of file {n % 40}\n" for i in range(50 + n % 200))
    message = f"change {n}"
    return (
        f"commit refs/heads/bench\ncommitter bench <bench@bench.invalid> {1_700_000_000 + n} +0000\n"
        f"data {len(message)}\n{message}\nM 100644 inline folder{n % 5}/file{n % 40}\ndata {len(text)}\n{text}\n"
    )


def redis_files(folder: Path, scale: float) -> None:
    (folder / "redis.conf").write_text(REDIS)
    (folder / "client.sh").write_text(REDIS_CLIENT.format(n=int(80_000 * scale)))
