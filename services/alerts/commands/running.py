"""Runs operator commands, each with an engine of its own, which is disposed of afterwards."""

import argparse
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncEngine

from services.alerts.connectors.registry import check
from services.alerts.delivery.core.encryption_key import key_of
from services.alerts.delivery.store.encryption import Encryption
from services.alerts.delivery.store.endpoint_admin import EndpointAdmin
from services.alerts.delivery.store.endpoint_secrets import EndpointSecrets
from services.alerts.main import run
from services.alerts.settings import AlertsSettings
from services.alerts.store.business_clock import BusinessClock
from services.alerts.store.tables import SCHEMA, api_token
from shared.runtime.clock import SystemClock
from shared.runtime.command_line import Command, ServiceSpec, with_engine

SPEC = ServiceSpec(
    name="alerts",
    schema=SCHEMA,
    versions=Path(__file__).parents[1] / "store" / "versions",
    token_table=api_token,
    run=run,
)


def endpoint_admin(engine: AsyncEngine) -> EndpointAdmin:
    """Return the admin that creates and changes endpoints, by the settings."""
    check_it = partial(check, https_only=AlertsSettings().delivery_https_only)
    return EndpointAdmin(engine, endpoint_secrets(), check_it)


def endpoint_secrets() -> EndpointSecrets:
    """Return the store that encrypts and decrypts secrets, with the keys of the settings."""
    keys = AlertsSettings().secret_keys
    return EndpointSecrets(Encryption([key_of(key.get_secret_value()) for key in keys]))


def command(work: Callable[[argparse.Namespace, AsyncEngine], Awaitable[int]]) -> Command:
    """Return a command of the command line that runs `work` and exits with its result."""

    async def run_it(args: argparse.Namespace) -> int:
        return await with_engine(SPEC, lambda engine: work(args, engine))

    return run_it


def business_clock() -> BusinessClock:
    """Return the clock of business time, as the service uses it."""
    return BusinessClock(SystemClock(), replay=AlertsSettings().clock == "replay")
