"""Operator commands about the partitions of a service's ledger; scoring has more of its own."""

import argparse
import sys
from functools import partial
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

from shared.postgres.ledger import Ledger
from shared.runtime.arguments import count, serial
from shared.runtime.command_line import ServiceSpec, on_database


def add_commands(spec: ServiceSpec, commands: Any) -> None:
    """Adds `partitions show|resume`."""
    partitions = commands.add_parser("partitions", help="how far each partition was read")
    actions = partitions.add_subparsers(required=True, metavar="ACTION")
    listing = actions.add_parser("show", help="every partition")
    listing.set_defaults(command=on_database(spec, partial(_show, spec.schema)))
    resume = actions.add_parser(
        "resume", help="let a stopped partition go on at an offset of your choice"
    )
    resume.add_argument("topic")
    resume.add_argument("partition", type=count)
    resume.add_argument("--offset", type=serial, help="default: the start of the log")
    resume.set_defaults(command=on_database(spec, partial(_resume, spec.schema)))


async def _show(schema: str, _: argparse.Namespace, engine: AsyncEngine) -> int:
    for row in await Ledger(engine, schema).list_all():
        print(
            f"{row['topic']}/{row['partition']:<3}  next {row['next_offset']}  "
            f"epoch {row['epoch']}  {row['status']}  {row['status_reason'] or ''}"
        )
    return 0


async def _resume(schema: str, args: argparse.Namespace, engine: AsyncEngine) -> int:
    place = f"{args.topic}/{args.partition}"
    if await Ledger(engine, schema).reset((args.topic, args.partition), args.offset):
        start = "the start of the log" if args.offset is None else args.offset
        print(f"{place} goes on at {start}")
        return 0
    print(f"no partition {place}; see `partitions show`", file=sys.stderr)
    return 1
