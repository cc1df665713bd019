"""Operator commands about deliveries and endpoints."""

import argparse
import sys
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

from services.alerts.commands.running import command, vault
from services.alerts.store.delivery_log import DeliveryFilter, DeliveryLog
from services.alerts.store.endpoint_admin import EndpointAdmin
from shared.runtime.clock import SystemClock


def add_commands(commands: Any) -> None:
    """`deliveries list|resend`, `endpoints list|enable`."""
    deliveries = commands.add_parser("deliveries", help="messages to endpoints")
    actions = deliveries.add_subparsers(required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="deliveries, newest first")
    listing.add_argument("--status", choices=("pending", "delivered", "failed"))
    listing.add_argument("--limit", type=int, default=50)
    listing.set_defaults(command=command(_list_deliveries))
    resend = actions.add_parser("resend", help="send one again, under the same id")
    resend.add_argument("id")
    resend.set_defaults(command=command(_resend))

    endpoints = commands.add_parser("endpoints", help="where tasks are sent")
    actions = endpoints.add_subparsers(required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="every endpoint, and which are switched off")
    listing.set_defaults(command=command(_list_endpoints))
    enable = actions.add_parser("enable", help="switch one on again; what waits is sent")
    enable.add_argument("id")
    enable.set_defaults(command=command(_enable))


async def _list_deliveries(args: argparse.Namespace, engine: AsyncEngine) -> int:
    for row in await DeliveryLog(engine).page(DeliveryFilter(args.status), None, args.limit):
        print(
            f"{row['id']}  {row['status']:<9}  {row['attempts']:>2} attempts  {row['kind']}  "
            f"{row['endpoint_id']}  {row['task_id']}  next {row['next_at']:%F %T}Z"
        )
    return 0


async def _resend(args: argparse.Namespace, engine: AsyncEngine) -> int:
    if await DeliveryLog(engine).resend(args.id, SystemClock().now()):
        return 0
    print(f"no delivery {args.id}, or it is being sent right now", file=sys.stderr)
    return 1


async def _list_endpoints(_: argparse.Namespace, engine: AsyncEngine) -> int:
    for row in await EndpointAdmin(engine, vault()).list_all():
        off = row["disabled_at"]
        state = "on" if off is None else f"off since {off:%F %T}Z: {row['disabled_reason']}"
        print(f"{row['id']:<32}  {state}")
    return 0


async def _enable(args: argparse.Namespace, engine: AsyncEngine) -> int:
    if await EndpointAdmin(engine, vault()).enable(args.id):
        return 0
    print(f"no endpoint {args.id}; see `endpoints list`", file=sys.stderr)
    return 1
