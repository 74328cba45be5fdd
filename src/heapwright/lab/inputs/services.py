"""Inputs of databases, of a server, and of tools that read data."""

from __future__ import annotations

import json
from pathlib import Path

SQL = """
create table t(a integer primary key, b text, c real);
with recursive n(i) as (select 1 union all select i + 1 from n where i < {n})
  insert into t select i, 'row ' || (i * 7919 % 1000003), i / 3.0 from n;
create index by_b on t(b);
select count(*), sum(a), max(b) from t where b like 'row 1%';
select substr(b, 1, 6) as head, count(*), group_concat(a) from t group by head order by 2 desc limit 5;
select x.b, y.c from t x join t y on y.b = 'row ' || x.a where x.a % 5 = 0 order by x.b limit 20;
.open :memory:
.shell echo >drained; cat
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
redis-cli -s socket flushall >/dev/null 2>&1
echo >drained
cat
redis-cli -s socket shutdown nosave >/dev/null 2>&1
"""
# Each run makes the database again, and all randomness comes from the seed.
ROCKSDB = """
--benchmarks=fillrandom,overwrite,readrandom,seekrandom
--db=database
--num={n}
--seed=1
--value_size=200
--write_buffer_size=4194304
--cache_size=8388608
--compression_type=none
--disable_wal=1
--threads=1
"""
JQ = """
[range({rounds}) as $i
 | [.[] | select(.n % 7 == $i % 7) | {{name: (.name | ascii_upcase), tags: (.tags | sort | unique)}}]
 | group_by(.name | length) | map({{size: length, names: (map(.name) | join(","))}})]
 | map(map(.size) | add) | add
"""


def sqlite_script(folder: Path, scale: float) -> None:
    (folder / "work.sql").write_text(SQL.format(n=int(300_000 * scale)))


def redis_files(folder: Path, scale: float) -> None:
    (folder / "redis.conf").write_text(REDIS)
    (folder / "client.sh").write_text(REDIS_CLIENT.format(n=int(80_000 * scale)))


def rocksdb_flags(folder: Path, scale: float) -> None:
    (folder / "flags").write_text(ROCKSDB.format(n=max(100, int(30_000 * scale))).lstrip())


def jq_files(folder: Path, scale: float) -> None:
    rows = [
        {"name": f"name {i * 7919 % 1009}", "n": i, "tags": [f"tag {i % k}" for k in (3, 5, 7)]} for i in range(20_000)
    ]
    (folder / "work.json").write_text(json.dumps(rows[: max(10, int(20_000 * scale))]))
    (folder / "work.jq").write_text(JQ.format(rounds=7))
