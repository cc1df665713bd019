"""Command line of scoring: the service, its tables, tokens, models and partitions."""

import argparse
import asyncio
import sys
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

from services.scoring.commands import models, training
from services.scoring.commands.running import SPEC
from services.scoring.settings import ScoringSettings
from services.scoring.store.tables import SCHEMA
from shared.postgres.ledger import Ledger
from shared.runtime.command_line import main, with_engine


def _add_commands(commands: Any) -> None:
    training.add_commands(commands)
    models.add_commands(commands)
    partitions = commands.add_parser("partitions", help="who owns what, and how far it got")
    actions = partitions.add_subparsers(required=True, metavar="ACTION")
    show = actions.add_parser("show", help="every partition")
    show.set_defaults(command=_show_partitions)
    for name, text in (
        ("resume", "let a stopped partition go on at an offset of your choice"),
        ("rewind", "read a partition again; events known by now have no second effect"),
    ):
        reset = actions.add_parser(name, help=text)
        reset.add_argument("partition", type=int)
        reset.add_argument("--topic", default=None)
        reset.add_argument("--offset", type=int, help="default: the start of the log")
        reset.set_defaults(command=_reset_partition)
    compare = commands.add_parser("evaluate", help="measure the model on public histories")
    compare.add_argument("rest", nargs=argparse.REMAINDER)
    compare.set_defaults(command=_evaluate)


async def _show_partitions(_: argparse.Namespace) -> int:
    async def work(engine: AsyncEngine) -> int:
        for row in await Ledger(engine, SCHEMA).list_all():
            print(
                f"{row['topic']}/{row['partition']:<4} next {row['next_offset']}  "
                f"epoch {row['epoch']}  {row['status']}  {row['status_reason'] or ''}"
            )
        return 0

    return await with_engine(SPEC, work)


async def _reset_partition(args: argparse.Namespace) -> int:
    topic: str = args.topic or ScoringSettings().activity_topic

    async def work(engine: AsyncEngine) -> int:
        if await Ledger(engine, SCHEMA).reset((topic, args.partition), args.offset):
            start = "the start of the log" if args.offset is None else args.offset
            print(f"{topic}/{args.partition} goes on at {start}")
            return 0
        print(f"no partition {topic}/{args.partition}; see `partitions show`", file=sys.stderr)
        return 1

    return await with_engine(SPEC, work)


async def _evaluate(args: argparse.Namespace) -> int:
    from services.scoring.training import evaluate  # noqa: PLC0415

    return await asyncio.to_thread(evaluate.main, args.rest)


if __name__ == "__main__":
    sys.exit(main(SPEC, _add_commands))
