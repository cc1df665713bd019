"""Operator commands for customers' feedback and for messages to customers."""

import argparse
import getpass
import sys
from typing import Any, get_args

from sqlalchemy.ext.asyncio import AsyncEngine

from services.alerts.commands.service import add
from services.alerts.core.consent import refusal, spelled
from services.alerts.core.customer_message import Status
from services.alerts.store import consents as consent_store
from services.alerts.store import customer_messages as message_store
from services.alerts.store import feedback as feedback_store
from services.alerts.store.customer_messages import MessageFilter
from services.alerts.store.feedback import FeedbackFilter, State
from shared.contracts.events import FeedbackKind
from shared.postgres.engine import unit_of_work
from shared.runtime.arguments import count, instant
from shared.runtime.clock import SystemClock
from shared.runtime.command_line import group


def add_commands(commands: Any) -> None:
    """Add `feedback list|mark`, `messages list|unsubscriptions` and `wishes`."""
    actions = group(commands, "feedback", "suggestions, surveys and complaints of customers")
    listing = add(actions, "list", _list, "feedback, newest first")
    listing.add_argument("--kind", choices=get_args(FeedbackKind))
    listing.add_argument("--state", choices=get_args(State))
    listing.add_argument("--customer", help="the customer's id")
    listing.add_argument("--owner", help="the owner's id")
    listing.add_argument("--since", type=instant, help="ISO 8601, given at this time or later")
    listing.add_argument("--until", type=instant, help="ISO 8601, given before this time")
    listing.add_argument("--limit", type=count, default=50)
    mark = add(actions, "mark", _mark, "note that one was read or answered")
    mark.add_argument("id")
    mark.add_argument("state", choices=get_args(State))
    actions = group(commands, "messages", "messages that providers send to customers")
    listing = add(
        actions, "list", _list_messages, "messages, newest first; `--status suppressed`: why"
    )
    listing.add_argument("--status", choices=get_args(Status))
    listing.add_argument("--customer", help="the customer's id")
    listing.add_argument("--limit", type=count, default=50)
    away = add(
        actions, "unsubscriptions", _list_unsubscriptions, "customers who want no more messages"
    )
    away.add_argument("--customer", help="the customer's id")
    away.add_argument("--limit", type=count, default=50)
    wishes = add(commands, "wishes", _list_wishes, "what a customer allowed and refused, and when")
    wishes.add_argument("customer", help="the customer's id")
    wishes.add_argument("--limit", type=count, default=50)


async def _list(args: argparse.Namespace, engine: AsyncEngine) -> int:
    chosen = FeedbackFilter(
        args.kind, args.state, args.customer, args.owner, args.since, args.until
    )
    async with unit_of_work(engine) as work:
        found = await feedback_store.page(work, chosen, None, args.limit)
    for row in found:
        score = "" if row["score"] is None else f"  {row['score']:g} of 10"
        owner = row["owner_id"] or "(no owner)"
        print(
            f"{row['id']}  {row['state']:<8}  {row['at']:%F %H:%M}Z  {row['kind']:<16}  "
            f"{row['customer_id']}  {row['grade'] or '-'}  {owner}{score}  "
            f"{' '.join((row['text'] or '').split())}"
        )
    if not found:
        print("no such feedback")
    return 0


async def _mark(args: argparse.Namespace, engine: AsyncEngine) -> int:
    async with unit_of_work(engine) as work:
        now = SystemClock().now()
        found = await feedback_store.mark(work, args.id, args.state, getpass.getuser(), now)
    if found is None:
        print(f"no feedback {args.id}; see `feedback list`", file=sys.stderr)
        return 1
    print(f"{args.id}: {found['state']} by {found['state_by'] or '-'}")
    return 0


async def _list_messages(args: argparse.Namespace, engine: AsyncEngine) -> int:
    async with unit_of_work(engine) as work:
        chosen = MessageFilter(args.status, args.customer)
        found = await message_store.page(work, chosen, None, args.limit)
    for row in found:
        follows = {
            "waiting": f"until {row['due_at']:%F %H:%M}Z",
            "handed": f"{row['channel']} by {row['endpoint_id']}, {row['outcome'] or 'no report'}",
            "suppressed": row["reason"],
        }[row["status"]]
        print(
            f"{row['id']}  {row['status']:<10}  {row['caused_at']:%F %H:%M}Z  "
            f"{row['customer_id']}  {row['playbook']}  {row['task_id']}  {follows}"
        )
    if not found:
        print("no such messages; docs/customer-messages.md states how to switch them on")
    return 0


async def _list_unsubscriptions(args: argparse.Namespace, engine: AsyncEngine) -> int:
    async with unit_of_work(engine) as work:
        found = await consent_store.page(work, args.customer, None, args.limit)
    for row in found:
        back = row["subscribed_at"]
        returned = "" if back is None else f"  subscribed {back:%F %H:%M}Z"
        print(
            f"{row['customer_id']}  {row['channel']}  {row['unsubscribed_at']:%F %H:%M}Z  "
            f"{row['reported_by']}{returned}"
        )
    if not found:
        print("no unsubscriptions")
    return 0


async def _list_wishes(args: argparse.Namespace, engine: AsyncEngine) -> int:
    async with unit_of_work(engine) as work:
        found = await consent_store.history(work, args.customer, None, args.limit)
        now = (await consent_store.wishes(work, [args.customer]))[args.customer]
    for row in found:
        late = "  (late: a newer profile stood)" if row["late"] else ""
        about = {"*": "(all contact)"}.get(row["about"], row["about"])
        print(f"{row['at']:%F %T}Z  {about:<16}  {row['said']:<14}  {row['source']}{late}")
    if not found:
        print("nothing was said about contact, a channel or profiling")
    channels = sorted({spelled(name) for name in now.profile.consent})
    refused = {c: refusal(now, c, asks=False) for c in (channels or ["any channel"])}
    for channel, why in refused.items():
        print(f"now: {channel}: {'may be used' if why is None else f'refused ({why})'}")
    return 0
