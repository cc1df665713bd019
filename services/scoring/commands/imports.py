"""Operator commands about imports of history: show those under way, and end one."""

import argparse
import sys
from typing import Any

import orjson
import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from services.scoring.commands.service import add, group
from services.scoring.core.imports import Resting, described, end, resting
from services.scoring.settings import ScoringSettings
from services.scoring.store.tables import SCHEMA
from shared.postgres.ledger import Ledger

log = structlog.get_logger(__name__)


def add_commands(commands: Any) -> None:
    """Adds `imports show|end`."""
    actions = group(commands, "imports", "imports of history that are under way")
    add(actions, "show", _show, "each of them, and the partitions that rest for it")
    ending = add(
        actions, "end", _end, "end one whose end marker is missing: the sweep goes on, at once"
    )
    ending.add_argument("id", help="as `imports show` names it")


async def _show(_: argparse.Namespace, engine: AsyncEngine) -> int:
    found = await _resting(Ledger(engine, SCHEMA), ScoringSettings().activity_topic)
    for one in found:
        print(f"{described(one)}; partitions {', '.join(map(str, one.partitions))}")
    if not found:
        print("no import is under way")
    return 0


async def _end(args: argparse.Namespace, engine: AsyncEngine) -> int:
    topic, name = ScoringSettings().activity_topic, args.id
    ledger = Ledger(engine, SCHEMA)
    found = {one.name: one for one in await _resting(ledger, topic)}
    if name not in found:
        print(_refusal(name, list(found)), file=sys.stderr)
        return 1
    # Also in partitions that have not read the import yet: its events there count as late.
    await ledger.amend(topic, lambda progress: end(progress, name))
    rested = found[name].partitions
    log.warning("an operator ended an import", import_id=name, partitions=rested)
    print(f"import {name!r} has ended; the sweep of {len(rested)} partitions goes on in seconds")
    return 0


def _refusal(name: str, others: list[str]) -> str:
    if not others:
        return f"import {name!r} is not under way, nor is any other"
    return f"import {name!r} is not under way; these are: {', '.join(map(repr, others))}"


async def _resting(ledger: Ledger, topic: str) -> list[Resting]:
    rows = await ledger.list_all()
    return resting(
        (row["partition"], orjson.loads(row["progress"])) for row in rows if row["topic"] == topic
    )
