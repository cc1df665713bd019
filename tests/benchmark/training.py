"""Training in bounded memory: events, seconds and the peak of resident memory.

The history is generated (gamma-distributed rhythms, half of the customers leave), written to
Parquet in parts, and used for training as by `train --events`, in a separate process.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

DAYS: Final = 365
PART_CUSTOMERS: Final = 20_000
START_US: Final = 1_600_041_600_000_000
DAY_US: Final = 86_400_000_000
HORIZON_DAYS: Final = 28
CUSTOMERS: Final = 20_000
"""About 0.3 million events: what a minute allows. `python -m tests.benchmark.training N` measures
N customers (2.5 million make 50 million events)."""


def measure(customers: int = CUSTOMERS) -> dict[str, Any]:
    """Generates, then trains in another process; peak memory is that process's."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "events.parquet"
        events = generate(path, customers)
        done = subprocess.run(
            [sys.executable, "-m", "tests.benchmark.training", "learn", str(path)],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
    return {"customers": customers, "events": events, **json.loads(done.stdout.splitlines()[-1])}


def run() -> dict[str, float | str]:
    """Returns the figures for `make bench SECTION=training`."""
    found = measure()
    return {
        "events": float(found["events"]),
        "seconds": float(found["learned"]["s"]),
        "peak_mb": float(found["learned"]["peak_mb"]),
    }


def generate(path: Path, customers: int) -> int:
    """Writes purchases of so many customers in a year; returns the number of events."""
    written = 0
    schema = pa.schema(
        {
            "event_id": pa.string(),
            "customer_id": pa.string(),
            "ts": pa.timestamp("us"),
            "event_type": pa.string(),
            "amount": pa.float64(),
        }
    )
    with pq.ParquetWriter(path, schema) as writer:
        for first in range(0, customers, PART_CUSTOMERS):
            n = min(PART_CUSTOMERS, customers - first)
            random = np.random.default_rng(first)
            gap = random.gamma(2.0, 8.0, n) + 1.0
            end = np.minimum(random.uniform(30, 2 * DAYS, n), DAYS)
            start = random.uniform(0, DAYS / 2, n)
            count = random.poisson(np.maximum(end - start, 0) / gap) + 1
            row = np.repeat(np.arange(n), count)
            at = start[row] + random.random(len(row)) * np.maximum(end - start, 0)[row]
            order = np.argsort(at)
            row, at = row[order], at[order]
            names = pl.DataFrame({"n": row + first}).select(
                event_id=pl.format("e{}", pl.int_range(pl.len()) + written),
                customer_id=pl.format("c{}", "n"),
            )
            part = pa.table(
                {
                    "event_id": names["event_id"].to_arrow(),
                    "customer_id": names["customer_id"].to_arrow(),
                    "ts": pa.array(START_US + (at * DAY_US).astype(np.int64), pa.timestamp("us")),
                    "event_type": pa.array(["purchase"] * len(row)),
                    "amount": random.gamma(2.0, 15.0, len(row)),
                },
            ).cast(schema)
            writer.write_table(part)
            written += len(row)
    return written


def _learn(path: Path) -> dict[str, Any]:
    from services.scoring.training.data.disk_history import DiskHistoryWriter  # noqa: PLC0415
    from services.scoring.training.data.event_file import batches  # noqa: PLC0415
    from services.scoring.training.fit.candidates import learn  # noqa: PLC0415
    from shared.event_files.reader import EventFile  # noqa: PLC0415

    began = time.perf_counter()
    found: dict[str, Any] = {}

    def note(what: str, done: int = 1, total: int = 1) -> None:
        if done == total:
            found[what] = {
                "s": round(time.perf_counter() - began, 1),
                "cpu_s": round(time.process_time(), 1),
                "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
            }
            sys.stderr.write(f"{what} {found[what]}\n")

    with tempfile.TemporaryDirectory() as folder:
        spool = DiskHistoryWriter(Path(folder) / "spool")
        for batch in batches(EventFile(path)):
            spool.add(batch)
        history = spool.finish()
        note("read")
        learned = learn(history, history.observed_until, HORIZON_DAYS, progress=note)
    note("learned")
    return {**found, "versions": [candidate.model.version for candidate in learned.candidates]}


if __name__ == "__main__":
    if sys.argv[1] == "learn":
        sys.stdout.write(json.dumps(_learn(Path(sys.argv[2]))) + "\n")
    else:
        sys.stdout.write(json.dumps(measure(int(sys.argv[1])), indent=2) + "\n")
