"""Operator commands about the partitions of the activity topic."""

import argparse
import sys
from typing import Any

import orjson
from sqlalchemy.ext.asyncio import AsyncEngine

from services.scoring.commands.service import add, group
from services.scoring.core.imports import described, resting
from services.scoring.settings import ScoringSettings
from services.scoring.store.tables import SCHEMA
from shared.postgres.ledger import Ledger
from shared.runtime.arguments import count, serial


def add_commands(commands: Any) -> None:
    """Adds `partitions show|resume|rewind|forget`."""
    actions = group(commands, "partitions", "who owns what, and how far it got")
    add(actions, "show", _show, "every partition")
    for name, text in (
        ("resume", "let a stopped partition go on at an offset of your choice"),
        ("rewind", "read a partition again; events known by now have no second effect"),
    ):
        reset = add(actions, name, _reset, text)
        reset.add_argument("partition", type=count)
        reset.add_argument("--topic", default=None)
        reset.add_argument("--offset", type=serial, help="default: the start of the log")
    forget = add(actions, "forget", _forget, "the topic no longer has this partition")
    forget.add_argument("partition", type=count)
    forget.add_argument("--topic", default=None)


async def _show(_: argparse.Namespace, engine: AsyncEngine) -> int:
    for row in await Ledger(engine, SCHEMA).list_all():
        print(
            f"{row['topic']}/{row['partition']:<4} next {row['next_offset']}  "
            f"epoch {row['epoch']}  {row['worker']}  {row['status']}  {_why(row)}"
        )
    return 0


def _why(row: dict[str, Any]) -> str:
    if row["waits"]:
        return "was added: begins when the older partitions are read to their recorded ends"
    if row["status_reason"]:
        return str(row["status_reason"])
    found = resting([(row["partition"], orjson.loads(row["progress"]))])
    return f"{described(found[0])} (`imports end`)" if found else ""


async def _forget(args: argparse.Namespace, engine: AsyncEngine) -> int:
    topic: str = args.topic or ScoringSettings().activity_topic
    if await Ledger(engine, SCHEMA).forget((topic, args.partition)):
        print(f"{topic}/{args.partition} is forgotten")
        return 0
    return _unknown(topic, args.partition)


def _unknown(topic: str, partition: int) -> int:
    print(f"no partition {topic}/{partition}; see `partitions show`", file=sys.stderr)
    return 1


async def _reset(args: argparse.Namespace, engine: AsyncEngine) -> int:
    topic: str = args.topic or ScoringSettings().activity_topic
    if await Ledger(engine, SCHEMA).reset((topic, args.partition), args.offset):
        start = "the start of the log" if args.offset is None else args.offset
        print(f"{topic}/{args.partition} goes on at {start}")
        return 0
    return _unknown(topic, args.partition)
