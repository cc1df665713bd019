"""Operator commands for endpoints."""

import argparse
import sys
from collections.abc import Mapping
from typing import Any, get_args

from sqlalchemy.ext.asyncio import AsyncEngine

from services.alerts.commands.running import command, endpoint_admin, endpoint_secrets
from services.alerts.core.webhook_payload import Kind
from services.alerts.delivery.core.endpoint import Endpoint, Route
from services.alerts.delivery.store.endpoint_admin import FromSettings
from services.alerts.delivery.store.endpoint_secrets import GeneratedSecret
from shared.runtime.arguments import number
from shared.runtime.clock import SystemClock


def add_commands(commands: Any) -> None:
    """Add `endpoints list|create|pause|enable|rotate|delete|reencrypt`."""
    endpoints = commands.add_parser("endpoints", help="where tasks are sent")
    actions = endpoints.add_subparsers(required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="every endpoint, and which are switched off")
    listing.set_defaults(command=command(_list))
    create = actions.add_parser("create", help="make a webhook; its key is shown once")
    create.add_argument("id")
    create.add_argument("--url", required=True)
    create.add_argument("--scheme", choices=("v1", "v1a"), default="v1")
    create.add_argument("--payload", choices=("thin", "full"), default="full")
    create.add_argument("--event-type", action="append", default=[], choices=get_args(Kind))
    create.add_argument("--owner", action="append", default=[], help="an owner's id")
    create.add_argument("--rate", type=number, help="messages a second at most")
    create.set_defaults(command=command(_create))
    rotate = actions.add_parser("rotate", help="make a new key; the old one counts for a while")
    rotate.add_argument("id")
    rotate.add_argument("--scheme", choices=("v1", "v1a"), default="v1")
    rotate.add_argument("--overlap-hours", type=number, default=24.0)
    rotate.set_defaults(command=command(_rotate))
    for name, text, work in (
        ("pause", "send nothing for now; what comes waits", _pause),
        ("enable", "switch one on again; what waits is sent", _enable),
        ("delete", "end one; what waits for it counts as failed", _delete),
    ):
        action = actions.add_parser(name, help=text)
        action.add_argument("id")
        action.set_defaults(command=command(work))
    reencrypt = actions.add_parser(
        "reencrypt", help="seal every stored secret with the first key of the settings"
    )
    reencrypt.set_defaults(command=command(_reencrypt))


async def _list(_: argparse.Namespace, engine: AsyncEngine) -> int:
    found = await endpoint_admin(engine).list_all()
    if not found:
        print("no endpoint: `endpoints create ID --url https://…`")
    for shown in found:
        row = shown.row
        print(f"{row['id']:<32}  {row['kind']:<10} {row['source']:<9} {state(row)}")
    return 0


def state(row: Mapping[str, Any]) -> str:
    """Return whether an endpoint is on, and if not, since when and why."""
    if row["disabled_at"] is not None:
        return f"off since {row['disabled_at']:%F %T}Z: {row['disabled_reason']}"
    if row["paused_at"] is not None:
        return f"paused since {row['paused_at']:%F %T}Z"
    return "on"


async def _create(args: argparse.Namespace, engine: AsyncEngine) -> int:
    endpoint = Endpoint(
        id=args.id,
        url=args.url,
        route=Route(event_types=tuple(args.event_type), owner_ids=tuple(args.owner)),
        payload=args.payload,
        concurrency_max=16,
        rate_per_s=args.rate,
    )
    made = await endpoint_admin(engine).create(endpoint, {}, args.scheme, SystemClock().now())
    return _show(made)


async def _rotate(args: argparse.Namespace, engine: AsyncEngine) -> int:
    try:
        made = await endpoint_admin(engine).rotate(
            args.id, args.scheme, args.overlap_hours, SystemClock().now()
        )
    except FromSettings:
        return _of_settings(args.id)
    return _show(made) if made else _missing(args.id)


async def _pause(args: argparse.Namespace, engine: AsyncEngine) -> int:
    done = await endpoint_admin(engine).pause(args.id, SystemClock().now())
    return 0 if done else _missing(args.id)


async def _enable(args: argparse.Namespace, engine: AsyncEngine) -> int:
    return 0 if await endpoint_admin(engine).enable(args.id) else _missing(args.id)


async def _delete(args: argparse.Namespace, engine: AsyncEngine) -> int:
    try:
        done = await endpoint_admin(engine).delete(args.id, SystemClock().now())
    except FromSettings:
        return _of_settings(args.id)
    return 0 if done else _missing(args.id)


async def _reencrypt(_: argparse.Namespace, engine: AsyncEngine) -> int:
    print(f"{await endpoint_secrets().reencrypt(engine)} secrets encrypted again")
    return 0


def _show(made: GeneratedSecret | None) -> int:
    if made is not None:
        print(made.secret)
        if made.public_key is not None:
            print(made.public_key)
    return 0


def _missing(endpoint_id: str) -> int:
    print(f"no endpoint {endpoint_id}; see `endpoints list`", file=sys.stderr)
    return 1


def _of_settings(endpoint_id: str) -> int:
    print(
        f"{endpoint_id} is defined in EBBWATCH_ALERTS_ENDPOINTS: change it there", file=sys.stderr
    )
    return 1
