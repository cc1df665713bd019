"""`evaluate`: measures the churn model on a company's own file or on the public data sets."""

import argparse
import asyncio
from typing import Any

from shared.event_files.arguments import add_reading, reading_of
from shared.runtime.arguments import count, days
from shared.runtime.clock import SystemClock


def add_commands(commands: Any) -> None:
    """Adds `evaluate`."""
    parser = commands.add_parser("evaluate", help="measure the model on histories it never saw")
    parser.add_argument("--events", metavar="FILE", help="a company's own file of events or orders")
    add_reading(parser)
    parser.add_argument("--horizon-days", type=days, help="silence that counts as churn; proposed")
    parser.add_argument("--cutoffs", help="test cutoffs: dates (UTC) with commas between; proposed")
    parser.add_argument("--also-horizons", help="other horizons too: days with commas between")
    parser.add_argument(
        "--labels", choices=["silence", "contractual"], default="silence", help="what churn is"
    )
    parser.add_argument("--sets", nargs="+", help="public sets, when no file is given")
    parser.add_argument("--out", metavar="DIR", help="default: build/evaluate")
    parser.add_argument("--threads", type=count, default=1, help="more rarely help: LightGBM spins")
    parser.set_defaults(command=_evaluate)


async def _evaluate(args: argparse.Namespace) -> int:
    # Imported here: the service itself must not load the modules of training.
    from services.scoring.training.evaluation.evaluate import EvaluateOptions, run  # noqa: PLC0415

    given = {name: getattr(args, name, None) for name in EvaluateOptions.__slots__}
    given["reading"] = reading_of(args, SystemClock().now())
    options = EvaluateOptions(**{name: value for name, value in given.items() if value is not None})
    return await asyncio.to_thread(run, options)
