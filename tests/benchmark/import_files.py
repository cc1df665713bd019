"""Section `intake`, its part of files: the command `import` from a CSV file to the raw topic.

    python -m tests.benchmark.import_files

The whole command is timed, as a process of its own: starting, both passes over the file, and every
event acknowledged by the broker.
"""

import asyncio
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl

from deploy.local.stack import ROOT, LocalStack
from tests.benchmark import common

ROWS = 1_000_000
CUSTOMERS = 100_000
SEED = 20


def write_orders(path: Path, rows: int, *, ids: bool = True) -> None:
    """Write a CSV of orders, one per row, in the order of their times."""
    random = np.random.default_rng(SEED)
    at = np.arange(rows) * (1_000_000 * 86_400 * 700 // rows)
    begin = np.datetime64("2024-01-01T00:00:00", "us")
    frame = pl.DataFrame({
        "order_id": [f"A{number:09}" for number in range(rows)],
        "customer_id": [f"customer-{n}" for n in random.integers(0, CUSTOMERS, rows)],
        "order_date": begin + at.astype("timedelta64[us]"),
        "amount": random.integers(100, 50_000, rows) / 100,
        "category": random.choice(["books", "food", "tools"], rows),
    })  # fmt: skip
    (frame if ids else frame.drop("order_id")).write_csv(
        path, datetime_format="%Y-%m-%d %H:%M:%S", float_precision=2
    )


async def import_files(stack: LocalStack) -> common.Figures:
    """Measure rows per second of the command, and its memory."""
    rows = common.scaled(ROWS)
    raw, *_ = await common.make_topics(stack.kafka.settings, "import")
    found: common.Figures = {}
    for key, ids in (("import", True), ("import_without_ids", False)):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "orders.csv"
            write_orders(path, rows, ids=ids)
            cpu = resource.getrusage(resource.RUSAGE_CHILDREN)
            began = time.perf_counter()
            await asyncio.to_thread(
                subprocess.run, [sys.executable, "-m", "services.ingest", "import", str(path)],
                check=True, cwd=ROOT, stdout=sys.stderr,
                env={**os.environ, **stack.environment(),
                     "EBBWATCH_INGEST_RAW_TOPICS": raw.name, "PYTHONPATH": str(ROOT)},
            )  # fmt: skip
            seconds = time.perf_counter() - began
            spent = resource.getrusage(resource.RUSAGE_CHILDREN)
        busy = spent.ru_utime + spent.ru_stime - cpu.ru_utime - cpu.ru_stime
        found[f"{key}_rows_per_s"] = rows / seconds
        found[f"{key}_cpu_us_per_row"] = busy / rows * 1e6
        found[f"{key}_peak_mb"] = spent.ru_maxrss / 1024
    return found


def run() -> common.Figures:
    """Run on a stack of its own."""
    return common.run(import_files)


if __name__ == "__main__":
    sys.stdout.write(json.dumps(run(), indent=2) + "\n")
