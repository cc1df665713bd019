"""Finds the date or the stored action that a report compares the time before and after."""

import argparse
import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncEngine

from services.scoring.core.segments.actions import HELP, Action, named
from services.scoring.store.classification_queries import ClassificationQueries
from services.scoring.store.definitions import Decisions
from services.scoring.store.history import HistoryReader
from services.scoring.store.treatments import Treatments
from shared.contracts.activity import DECODER
from shared.kernel.errors import Invalid
from shared.runtime.arguments import count, instant

WINDOW_DAYS_MAX: Final = 366
"""Largest window: a year on each side."""


def add_arguments(report: Any) -> None:
    """Adds `--around`, `--action` and `--window-days`."""
    middle = report.add_mutually_exclusive_group()
    middle.add_argument(
        "--around", type=instant, help="before and after this; default: as late as can be"
    )
    middle.add_argument("--action", help=f"before and after it, customer by customer: {HELP}")
    report.add_argument("--window-days", type=count, default=28, help="on each side of it")


async def around(engine: AsyncEngine, args: argparse.Namespace, end: datetime) -> datetime | Action:
    """Returns the date or the action; raises Invalid, naming the option, where none is found."""
    if not 1 <= args.window_days <= WINDOW_DAYS_MAX:
        raise Invalid("--window-days", f"lies within 1 to {WINDOW_DAYS_MAX}")
    if args.action is not None:
        found = await _action(engine, args.action, end)
        if isinstance(found, Action):
            return found
    else:
        found = args.around
    window = timedelta(days=args.window_days)
    at = found or end - window
    if at + window > end:
        option = "--around" if args.action is None else "--action"
        raise Invalid(option, f"{at:%F}: the window after it is not over on {end:%F}")
    return at


async def _action(engine: AsyncEngine, name: str, end: datetime) -> datetime | Action:
    action = named(name)
    first: dict[str, datetime] = {}
    if action.source == "policy":
        for version in await Decisions(engine).policies():
            if str(version.version) == action.id:
                return version.created_at
    elif action.source == "campaign":
        async for payloads in HistoryReader(engine).events():
            await asyncio.to_thread(_campaign, first, payloads, action.id)
    elif action.source == "segment":
        for segment, customer, at, entered in await ClassificationQueries(engine).segment_moves(
            end
        ):
            if segment == action.id and entered:
                first.setdefault(customer, at)
    else:
        first = await Treatments(engine).first_tasks(
            end,
            playbook=action.id if action.source == "playbook" else None,
            policy=action.id if action.source == "service" else None,
        )
    first = {customer: at for customer, at in first.items() if at <= end}
    if not first:
        raise Invalid("--action", f"nothing stored up to {end:%F} mentions {name!r}")
    return Action(name, first)


def _campaign(first: dict[str, datetime], payloads: Sequence[bytes], campaign: str) -> None:
    """Notes the first time that each customer received or used the campaign."""
    for event in map(DECODER.decode, payloads):
        if event.data.campaign_id == campaign:
            before = first.get(event.subject)
            first[event.subject] = event.time if before is None else min(before, event.time)
