"""Operator commands for endpoints."""

import argparse
import sys
from collections.abc import Mapping
from functools import partial
from typing import Any, get_args

from sqlalchemy.ext.asyncio import AsyncEngine

from services.alerts.commands.service import add
from services.alerts.connectors.registry import check
from services.alerts.core.webhook_payload import Kind
from services.alerts.delivery.core.encryption_key import key_of
from services.alerts.delivery.core.endpoint import Endpoint, Route
from services.alerts.delivery.store.encryption import Encryption
from services.alerts.delivery.store.endpoint_admin import EndpointAdmin, FromSettings, NoEndpoint
from services.alerts.delivery.store.endpoint_secrets import EndpointSecrets, GeneratedSecret
from services.alerts.settings import AlertsSettings
from shared.runtime.arguments import number
from shared.runtime.clock import SystemClock
from shared.runtime.command_line import Action, group


def add_commands(commands: Any) -> None:
    """Add `endpoints list|create|pause|enable|rotate|delete|reencrypt`."""
    actions = group(commands, "endpoints", "where tasks are sent")
    add(actions, "list", _list, "every endpoint, and which are switched off")
    create = add(actions, "create", _create, "make a webhook; its key is shown once")
    create.add_argument("id")
    create.add_argument("--url", required=True)
    create.add_argument("--scheme", choices=("v1", "v1a"), default="v1")
    create.add_argument("--payload", choices=("thin", "full"), default="full")
    create.add_argument("--event-type", action="append", default=[], choices=get_args(Kind))
    create.add_argument("--owner", action="append", default=[], help="an owner's id")
    create.add_argument("--rate", type=number, help="messages a second at most")
    rotate = add(
        actions, "rotate", _of_one(_rotate), "make a new key; the old one counts for a while"
    )
    rotate.add_argument("id")
    rotate.add_argument("--scheme", choices=("v1", "v1a"), default="v1")
    rotate.add_argument("--overlap-hours", type=number, default=24.0)
    for name, text, work in (
        ("pause", "send nothing for now; what comes waits", _pause),
        ("enable", "switch one on again; what waits is sent", _enable),
        ("delete", "end one; what waits for it counts as failed", _delete),
    ):
        action = add(actions, name, _of_one(work), text)
        action.add_argument("id")
    add(
        actions,
        "reencrypt",
        _reencrypt,
        "seal every stored secret with the first key of the settings",
    )


async def _list(_: argparse.Namespace, engine: AsyncEngine) -> int:
    found = await _admin(engine).list_all()
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
    made = await _admin(engine).create(endpoint, {}, args.scheme, SystemClock().now())
    return _show(made)


async def _rotate(args: argparse.Namespace, engine: AsyncEngine) -> int:
    now = SystemClock().now()
    return _show(await _admin(engine).rotate(args.id, args.scheme, args.overlap_hours, now))


async def _pause(args: argparse.Namespace, engine: AsyncEngine) -> int:
    await _admin(engine).pause(args.id, SystemClock().now())
    return 0


async def _enable(args: argparse.Namespace, engine: AsyncEngine) -> int:
    await _admin(engine).enable(args.id)
    return 0


async def _delete(args: argparse.Namespace, engine: AsyncEngine) -> int:
    await _admin(engine).delete(args.id, SystemClock().now())
    return 0


async def _reencrypt(_: argparse.Namespace, engine: AsyncEngine) -> int:
    print(f"{await _secrets().reencrypt(engine)} secrets encrypted again")
    return 0


def _show(made: GeneratedSecret | None) -> int:
    if made is not None:
        print(made.secret)
        if made.public_key is not None:
            print(made.public_key)
    return 0


def _of_one(action: Action) -> Action:
    """Return an action on one endpoint that reports why there is none to act on."""

    async def run(args: argparse.Namespace, engine: AsyncEngine) -> int:
        try:
            return await action(args, engine)
        except NoEndpoint:
            why = f"no endpoint {args.id}; see `endpoints list`"
        except FromSettings:
            why = f"{args.id} is defined in EBBWATCH_ALERTS_ENDPOINTS: change it there"
        print(why, file=sys.stderr)
        return 1

    return run


def _admin(engine: AsyncEngine) -> EndpointAdmin:
    """Return the admin that creates and changes endpoints, by the settings."""
    check_it = partial(check, https_only=AlertsSettings().delivery_https_only)
    return EndpointAdmin(engine, _secrets(), check_it)


def _secrets() -> EndpointSecrets:
    """Return the store that encrypts and decrypts secrets, with the keys of the settings."""
    keys = AlertsSettings().secret_keys
    return EndpointSecrets(Encryption([key_of(key.get_secret_value()) for key in keys]))
