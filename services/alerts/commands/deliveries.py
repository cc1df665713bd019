"""Operator commands for deliveries."""

import argparse
import sys
from typing import Any, get_args

from sqlalchemy.ext.asyncio import AsyncEngine

from services.alerts.commands.service import add
from services.alerts.delivery.store.delivery_log import DeliveryFilter, DeliveryLog, DeliveryStatus
from shared.runtime.arguments import count, instant
from shared.runtime.clock import SystemClock
from shared.runtime.command_line import group


def add_commands(commands: Any) -> None:
    """Add `deliveries list|resend|recover`."""
    actions = group(commands, "deliveries", "messages to endpoints")
    listing = add(actions, "list", _list, "deliveries, newest first; `--status failed`: dead")
    listing.add_argument("--status", choices=get_args(DeliveryStatus))
    listing.add_argument("--endpoint")
    listing.add_argument("--limit", type=count, default=50)
    resend = add(actions, "resend", _resend, "send one again, under the same id")
    resend.add_argument("id")
    recover = add(actions, "recover", _recover, "send again all that failed since a time")
    recover.add_argument("endpoint")
    recover.add_argument(
        "--since", type=instant, required=True, help="ISO 8601, at most 14 days ago"
    )


async def _list(args: argparse.Namespace, engine: AsyncEngine) -> int:
    chosen = DeliveryFilter(args.status, args.endpoint)
    rows = await DeliveryLog(engine).page(chosen, None, args.limit)
    if not rows:
        print("no delivery matches")
    for row in rows:
        follows = f"next {row['next_at']:%F %T}Z" if row["status"] == "pending" else ""
        print(
            f"{row['id']}  {row['status']:<9}  {row['attempts']:>2} attempts  {row['kind']}  "
            f"{row['endpoint_id']}  {row['task_id']}  {follows}  {row['reason'] or ''}"
        )
    return 0


async def _resend(args: argparse.Namespace, engine: AsyncEngine) -> int:
    if await DeliveryLog(engine).resend(args.id, SystemClock().now()):
        return 0
    print(f"no delivery {args.id}, or it is being sent right now", file=sys.stderr)
    return 1


async def _recover(args: argparse.Namespace, engine: AsyncEngine) -> int:
    found = await DeliveryLog(engine).recover(args.endpoint, args.since, SystemClock().now())
    print(f"{found} deliveries are sent again")
    return 0
