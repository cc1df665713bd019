"""Command line of the sizing: `python -m deploy.sizing --events-per-second 200 --customers 1e6`."""

import argparse
import json
import math
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from deploy.sizing.formula import BUSY_SHARE, COPIES, DISK_SHARE, Figures, Load, Size, sized

FIGURES = Path(__file__).parent / "figures.json"
MOST = 1e12
"""Above it a number is a slip of the keyboard."""

NOTES = """
A process is planned to be busy for {busy:.0%} of its time, and a disk to be full to {disk:.0%}.
Processes beyond the partitions idle. docs/operations.md explains the formula;
deploy/sizing/figures.json names the source of each figure, measured on
{machine}.
"""


def main(argv: list[str] | None = None) -> int:
    """Prints the size; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m deploy.sizing", description=__doc__)
    number = _positive
    parser.add_argument("--events-per-second", type=number, required=True, help="on average")
    parser.add_argument("--customers", type=number, required=True)
    parser.add_argument(
        "--retention-days", type=number, default=2_600.0, help="of events (default: 2,600)"
    )
    parser.add_argument(
        "--assessment-days", type=number, default=750.0, help="of assessments (default: 750)"
    )
    parser.add_argument(
        "--peak", type=number, default=3.0, help="busiest minute ÷ average (default: 3)"
    )
    parser.add_argument(
        "--figures", type=Path, default=FIGURES, help="measured figures (default: ours)"
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    given = parser.parse_args(argv)
    try:
        measured = json.loads(given.figures.read_text())
        figures = read(measured)
    except (OSError, ValueError, KeyError, TypeError) as wrong:
        print(f"{given.figures} has no usable figures: {wrong}", file=sys.stderr)
        return 1
    load = Load(
        events_per_s=given.events_per_second,
        peak=max(1.0, given.peak),
        customers=math.ceil(given.customers),
        retention_days=given.retention_days,
        assessment_days=given.assessment_days,
    )
    size = sized(load, figures)
    if given.json:
        print(json.dumps({"load": asdict(load), "size": asdict(size)}))
    else:
        print(_text(load, size, figures, measured["machine"]), end="")
    return 0


def read(document: dict[str, Any]) -> Figures:
    """Returns the figures of a document; raises KeyError, TypeError or ValueError without them."""
    values = {name: float(each["value"]) for name, each in document["figures"].items()}
    for name, value in values.items():
        if not 0 < value < MOST:
            raise ValueError(f"{name} is {value}: it must be above 0")
    return Figures(**values)


def _text(load: Load, size: Size, figures: Figures, machine: str) -> str:
    peak = load.events_per_s * load.peak
    assessments = load.customers * figures.assessments_per_customer_and_day
    kept = f"{load.retention_days:g} days of events, {load.assessment_days:g} of assessments"
    rows = (
        (size.ingest_replicas, "processes of ingest", f"{peak:,.0f} events/s at the peak"),
        (size.scoring_replicas, "processes of scoring", "each customer once a day as well"),
        (size.alerts_replicas, "processes of alerts", f"{assessments:,.0f} assessments a day"),
        (size.partitions, "partitions of a topic", "not fewer than processes of a service"),
        (size.postgres_cores, "cores of PostgreSQL", "at the peak"),
        (size.postgres_gib, "GiB for PostgreSQL", kept),
        (size.kafka_gib, "GiB for Kafka", f"all brokers together, {COPIES} copies"),
    )
    lines = [f"{value:>8,}  {what:<22}  {why}" for value, what, why in rows]
    notes = NOTES.format(busy=BUSY_SHARE, disk=DISK_SHARE, machine=machine)
    return "\n".join(lines) + "\n" + notes


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value <= MOST:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0 and up to {MOST:g}")
    return value


if __name__ == "__main__":
    sys.exit(main())
