"""Operator command `audit list`, the same in every service: who changed what, and when."""

import argparse
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
from sqlalchemy.ext.asyncio import AsyncEngine

from shared.postgres.audit import Audit, Entry, Wanted
from shared.runtime.arguments import count, instant

Action = Callable[[argparse.Namespace, AsyncEngine], Awaitable[int]]
Command = Callable[[argparse.Namespace], Awaitable[int]]

SHOWN: Final = 50
"""Entries shown unless another number is asked for: a screen."""
PAGE: Final = 1_000
"""Entries read at once."""


def add_commands(schema: str, commands: Any, command: Callable[[Action], Command]) -> None:
    """Add the command; `command` makes a command of an action on the database."""
    audit = commands.add_parser("audit", help="who changed what, when and from where")
    actions = audit.add_subparsers(required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="changes, newest first")
    listing.add_argument("--actor", help="a token's name, a command's user, or for whom")
    listing.add_argument("--action", help="a part of it: `segments`, `PUT /v1/policy`")
    listing.add_argument("--customer", help="changes about this customer")
    listing.add_argument("--since", type=instant)
    listing.add_argument("--until", type=instant)
    listing.add_argument("--limit", type=count, default=SHOWN)
    listing.add_argument("--json", action="store_true", help="one JSON object a line, to export")
    listing.set_defaults(command=command(lambda args, engine: _list(Audit(engine, schema), args)))


async def _list(audit: Audit, args: argparse.Namespace) -> int:
    left, before = args.limit, None
    while left > 0:
        wanted = Wanted(
            actor=args.actor,
            action=args.action,
            customer_id=args.customer,
            since=args.since,
            until=args.until,
            before_id=before,
        )
        found = await audit.find(wanted, min(left, PAGE))
        for entry in found:
            print(msgspec.json.encode(entry).decode() if args.json else _line(entry))
        if not found:
            break
        left, before = left - len(found), found[-1].id
    if before is None and not args.json:
        print("no change matches")
    return 0


def _line(entry: Entry) -> str:
    outcome = entry.outcome or "did not end"
    about = msgspec.json.encode(entry.target).decode() if entry.target else ""
    who = entry.actor if entry.on_behalf_of is None else f"{entry.actor} for {entry.on_behalf_of}"
    return f"{entry.at:%F %T}Z  {who:<16}  {entry.action:<36} {outcome:<9} {about}".rstrip()
