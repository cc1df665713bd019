"""Operator commands: announced absences of customers."""

import argparse
import sys
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

from services.scoring.commands.service import add, group
from services.scoring.inbound.http.absences import checked
from services.scoring.store.definitions import Decisions
from services.scoring.store.identity_queries import IdentityQueries
from shared.runtime.arguments import instant
from shared.runtime.clock import SystemClock


def add_commands(commands: Any) -> None:
    """Adds `absences announce|end|show`."""
    actions = group(commands, "absences", "days on which a silence is none")
    announce = add(actions, "announce", _announce, "in place of the one announced before")
    announce.add_argument("customer")
    announce.add_argument("--from", dest="begins_at", type=instant, required=True)
    announce.add_argument("--until", dest="ends_at", type=instant, required=True)
    announce.add_argument("--reason", required=True)
    for name, help_, action in (("end", "all days count again", _end), ("show", "it", _show)):
        parser = add(actions, name, action, help_)
        parser.add_argument("customer")


async def _announce(args: argparse.Namespace, engine: AsyncEngine) -> int:
    checked(args.begins_at, args.ends_at)
    await Decisions(engine).announce_absence(
        await _primary(args, engine), args.begins_at, args.ends_at, args.reason, SystemClock().now()
    )
    print(f"{args.customer}: silence does not count until {args.ends_at:%F}")
    return 0


async def _end(args: argparse.Namespace, engine: AsyncEngine) -> int:
    if await Decisions(engine).end_absence(await _primary(args, engine)):
        print(f"{args.customer}: all days count again")
        return 0
    return _unknown(args.customer)


async def _show(args: argparse.Namespace, engine: AsyncEngine) -> int:
    found = await Decisions(engine).absence(await _primary(args, engine))
    if found is None:
        return _unknown(args.customer)
    print(f"{found.begins_at:%F} to {found.ends_at:%F}: {found.reason}")
    return 0


async def _primary(args: argparse.Namespace, engine: AsyncEngine) -> str:
    """Returns the id under which the customer is kept: an absence of any other would not count."""
    return await IdentityQueries(engine).primary(args.customer)


def _unknown(customer: str) -> int:
    print(f"no absence of {customer!r} was announced", file=sys.stderr)
    return 1
