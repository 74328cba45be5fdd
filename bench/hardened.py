"""What `wright[HARDENED=1]` costs beside plain wright, on the bench's workloads and programs.

    python bench/hardened.py > bench/results/hardened.json

It runs `heapwright bench`, in which the two mallocs take turns, and adds ratios: of the medians of processor time,
which a busy machine disturbs less than the wall clock, and of peak resident memory. The spread is the distance between
the quartiles of the ratios of single runs. Means are geometric. The raw figures of the bench are in the result.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import geometric_mean, median, quantiles
from typing import Any

PLAIN, HARDENED = "wright", "wright[HARDENED=1]"
GROUPS = ("alone", "threads", "programs")
REPEATS = 3


def raw_figures() -> dict[str, Any]:
    """What `heapwright bench -o` writes."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "raw.json"
        command = [sys.executable, "-m", "heapwright", "bench", "--no-peers", "--quick", "-n", str(REPEATS), "-o", file]
        command += [argument for spec in (PLAIN, HARDENED) for argument in ("-a", spec)]
        command += [argument for group in GROUPS for argument in ("-w", group)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        raw: dict[str, Any] = json.loads(file.read_text())
        return raw


def ratios_of(row: dict[str, Any]) -> dict[str, float]:
    """Hardened over plain: processor time with its spread, and memory."""
    plain, hardened = row["results"][PLAIN], row["results"][HARDENED]
    low, _, high = quantiles((b / a for a, b in zip(plain["cpu"], hardened["cpu"], strict=True)), n=4)
    time = median(hardened["cpu"]) / median(plain["cpu"])
    least = 1 << 20  # bytes: a ratio of less says nothing
    memory = max(hardened["peak_resident_bytes"], least) / max(plain["peak_resident_bytes"], least)
    return {"time": round(time, 3), "spread": round(high - low, 3), "peak": round(memory, 3)}


def main() -> None:
    raw = raw_figures()
    ratios = {f"{row['name']} {row['threads']}": ratios_of(row) for row in raw["rows"]}
    groups = {group: [r for r in raw["rows"] if r["group"] == group] for group in GROUPS}
    means = {
        group: {key: round(geometric_mean([ratios_of(row)[key] for row in rows]), 3) for key in ("time", "peak")}
        for group, rows in (groups | {"all": raw["rows"]}).items()
    }
    about = {"command": "python bench/hardened.py", "date": raw["date"], "machine": raw["machine"]}
    sys.stdout.write(json.dumps(about | {"means": means, "ratios": ratios, "raw": raw["rows"]}, indent=1) + "\n")


if __name__ == "__main__":
    main()
