"""`python -m tests.field`: the field test in its long form, with all three predictors."""

import argparse
import sys
from pathlib import Path

import msgspec

from tests.field.planted import customers
from tests.field.runner import PREDICTORS, Report, default_policy, false_rate, run

SEED = 1
SIGNS, CALM, OTHERS = 150, 300, 600
"""Customers of each kind: a share of 0.9 is known to 0.05."""


def main() -> int:
    """Runs it; returns 0 whatever was found, since `test_field.py` is what fails."""
    parser = argparse.ArgumentParser(prog="python -m tests.field", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("build") / "field.json")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--part", type=float, default=1.0, help="share of the customers")
    parser.add_argument("--predictors", nargs="+", choices=[*PREDICTORS], default=[*PREDICTORS])
    given = parser.parse_args()
    counts = [max(1, round(given.part * count)) for count in (SIGNS, CALM, OTHERS)]
    everybody, policy = customers(given.seed, *counts), default_policy()
    reports = []
    for name in given.predictors:
        reports.append(run(everybody, name, policy))
        show(reports[-1])
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_bytes(msgspec.json.format(msgspec.json.encode(reports), indent=2))
    print(f"report: {given.out}")
    return 0


def show(report: Report) -> None:
    """Prints a report as tables."""
    for title, signs, calm in (
        ("tasks", report.signs, report.calm),
        ("detectors", report.detected, report.onsets),
    ):
        print(f"\n{report.predictor}: {title}")
        print(f"  {'sign':22} planted in time  share   late  other  days")
        for name, one in signs.items():
            print(
                f"  {name:22} {one.planted:7} {one.in_time:7} {one.share:6.3f} {one.late:6} "
                f"{one.other:6} {one.days_median or '-':>5}"
            )
        print(f"  {'unaffected':22} customers  false  per 100 and month")
        for kind, some in calm.items():
            print(
                f"  {kind:22} {some.customers:9} {some.warnings:6} {some.rate:8.2f}  {some.causes}"
            )
        print(f"  {'together':22} {false_rate(calm):25.2f}")


if __name__ == "__main__":
    sys.exit(main())
