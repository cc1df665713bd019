"""Operator commands for the partitions that alerts reads."""

import argparse
import sys
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

from services.alerts.commands.running import command
from services.alerts.store.tables import SCHEMA
from shared.postgres.ledger import Ledger
from shared.runtime.arguments import count, serial


def add_commands(commands: Any) -> None:
    """Add `partitions show|resume`."""
    partitions = commands.add_parser("partitions", help="how far each partition was read")
    actions = partitions.add_subparsers(required=True, metavar="ACTION")
    listing = actions.add_parser("show", help="every partition")
    listing.set_defaults(command=command(_show_partitions))
    resume = actions.add_parser(
        "resume", help="let a stopped partition go on at an offset of your choice"
    )
    resume.add_argument("topic")
    resume.add_argument("partition", type=count)
    resume.add_argument("--offset", type=serial, help="default: the start of the log")
    resume.set_defaults(command=command(_resume))


async def _show_partitions(_: argparse.Namespace, engine: AsyncEngine) -> int:
    for row in await Ledger(engine, SCHEMA).list_all():
        print(
            f"{row['topic']}/{row['partition']:<3}  next {row['next_offset']}  "
            f"epoch {row['epoch']}  {row['status']}  {row['status_reason'] or ''}"
        )
    return 0


async def _resume(args: argparse.Namespace, engine: AsyncEngine) -> int:
    if await Ledger(engine, SCHEMA).reset((args.topic, args.partition), args.offset):
        return 0
    print(f"no partition {args.topic}/{args.partition}; see `partitions show`", file=sys.stderr)
    return 1
