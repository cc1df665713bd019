"""Command line of scoring: the service, its tables, tokens, models, partitions, assessments."""

import argparse
import asyncio
import sys
from typing import Any

from services.scoring.commands import assessments, models, partitions, training
from services.scoring.commands.running import SPEC
from shared.runtime.command_line import main


def _add_commands(commands: Any) -> None:
    training.add_commands(commands)
    models.add_commands(commands)
    partitions.add_commands(commands)
    assessments.add_commands(commands)
    compare = commands.add_parser("evaluate", help="measure the model on public histories")
    compare.add_argument("rest", nargs=argparse.REMAINDER)
    compare.set_defaults(command=_evaluate)


async def _evaluate(args: argparse.Namespace) -> int:
    from services.scoring.training import evaluate  # noqa: PLC0415

    return await asyncio.to_thread(evaluate.main, args.rest)


if __name__ == "__main__":
    sys.exit(main(SPEC, _add_commands))
