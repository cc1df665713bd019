"""Runs operator commands, each with an engine of its own, which is disposed of afterwards."""

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
from services.alerts.store.audited import COMMANDS
from services.alerts.store.business_clock import BusinessClock
from services.alerts.store.tables import SCHEMA, api_token
from shared.runtime.clock import SystemClock
from shared.runtime.command_line import ServiceSpec, add_command

SPEC = ServiceSpec(
    name="alerts",
    schema=SCHEMA,
    versions=Path(__file__).parents[1] / "store" / "versions",
    token_table=api_token,
    run=run,
    states=COMMANDS,
)

add = partial(add_command, SPEC)
"""`add(commands, name, action, text)`: adds a command that runs with an engine."""


def endpoint_admin(engine: AsyncEngine) -> EndpointAdmin:
    """Return the admin that creates and changes endpoints, by the settings."""
    check_it = partial(check, https_only=AlertsSettings().delivery_https_only)
    return EndpointAdmin(engine, endpoint_secrets(), check_it)


def endpoint_secrets() -> EndpointSecrets:
    """Return the store that encrypts and decrypts secrets, with the keys of the settings."""
    keys = AlertsSettings().secret_keys
    return EndpointSecrets(Encryption([key_of(key.get_secret_value()) for key in keys]))


def business_clock() -> BusinessClock:
    """Return the clock of business time, as the service uses it."""
    return BusinessClock(SystemClock(), replay=AlertsSettings().clock == "replay")
