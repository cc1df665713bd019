"""Operator commands: ids that are one customer, or no longer (docs/identity.md).

`link`, `contact` and `unlink` send a statement to the activity topic; a running scoring service
decides on it within a second, and `show` prints what was decided.
"""

import argparse
import sys
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

from services.scoring.commands.service import add, group
from services.scoring.commands.statement import check, send
from services.scoring.store.identity_queries import IdentityQueries, StatementRow
from shared.contracts import events
from shared.contracts.activity import ActivityData
from shared.contracts.events import IDS_MAX, Identity
from shared.kernel.errors import Invalid


def add_commands(commands: Any) -> None:
    """Adds `identities link|contact|unlink|show`."""
    actions = group(commands, "identities", "several ids of one customer")
    link = actions.add_parser("link", help="these ids are one customer")
    link.add_argument("ids", nargs="+", metavar="ID", help="two or more")
    link.add_argument("--primary", metavar="ID", help="the one that the customer is to have")
    link.set_defaults(command=_link)
    contact = actions.add_parser("contact", help="an id is a person at an account")
    contact.add_argument("contact")
    contact.add_argument("account")
    contact.set_defaults(command=_contact)
    unlink = actions.add_parser("unlink", help="undo: an id is a customer of its own again")
    unlink.add_argument("ids", nargs="+", metavar="ID")
    unlink.set_defaults(command=_unlink)
    show = add(actions, "show", _show, "the ids of a customer, and why they are one")
    show.add_argument("id")


async def _link(args: argparse.Namespace) -> int:
    first, *others = dict.fromkeys((*args.ids, *([] if args.primary is None else [args.primary])))
    if not others:
        raise Invalid("ids", "name two or more ids")
    return await _send(first, Identity(ids=others, primary=args.primary))


async def _contact(args: argparse.Namespace) -> int:
    return await _send(args.contact, Identity(kind="contact", ids=[args.account]))


async def _unlink(args: argparse.Namespace) -> int:
    return await _send(args.ids[0], Identity(kind="unlinked", ids=[*dict.fromkeys(args.ids)]))


async def _send(subject: str, identity: Identity) -> int:
    """Sends a statement; raises Invalid for what is no customer id."""
    if len(identity.ids) > IDS_MAX:
        raise Invalid("ids", f"at most {IDS_MAX} at once")
    for each in (subject, *identity.ids):
        check("ids", each)
    await send(events.IDENTITY, subject, ActivityData(identity=identity), "scoring-identities")
    print(f"sent; `identities show {subject}` prints what scoring decided")
    return 0


async def _show(args: argparse.Namespace, engine: AsyncEngine) -> int:
    queries = IdentityQueries(engine)
    primary = await queries.primary(args.id)
    ids = await queries.ids(primary)
    statements = await queries.statements([one.id for one in ids])
    if ids[0].since is None and not ids[0].events and not statements:
        print(f"no customer {args.id!r} has been seen", file=sys.stderr)
        return 1
    for one in ids:
        role = "primary" if one.id == primary else "contact" if one.contact else "also"
        since = "" if one.since is None else f", since {one.since:%F}"
        print(f"{role:8} {one.id}: {one.events} events{since}")
    for statement in statements:
        print(_line(statement))
    return 0


def _line(one: StatementRow) -> str:
    stated = f"{one.at:%F} {one.kind} {', '.join(one.ids)} ({one.source}, {one.id})"
    if one.refused is not None:
        return f"{stated}: refused, {one.refused}"
    return stated if one.note is None else f"{stated}: {one.note}"
