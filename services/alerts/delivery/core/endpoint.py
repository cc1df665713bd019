"""Defines an endpoint: where messages go, which ones, how fast, and with what secrets.

The sender, the connectors and the API share this value, which also chooses the messages. No table
is read, no secret decrypted and nothing sent here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal

import msgspec
from pydantic import SecretStr

from services.alerts.core.task import Task

Kind = Literal["webhook", "zoho", "fxiaoke", "wecom_bot", "wecom_app"]
"""The connector of the endpoint."""

Payload = Literal["thin", "full"]
"""`thin`: ids, band and due date, for receivers that may not store more; `full`: what an owner
needs to act."""

ENDPOINTS_MAX: Final = 200
"""Most endpoints: so many queues fit into one process at a few requests each."""

OLD_SECRETS_MAX: Final = 10
"""Old keys of one endpoint that are still valid, at most: an attempt is signed with each of
them."""

OVERLAP_HOURS_MAX: Final = 168
"""How long an old key may stay valid after a rotation: a week, to reach every receiver."""

ID_PATTERN: Final = r"^[a-z0-9][a-z0-9_-]{0,62}$"

ADDRESSES: Final = ("api_url", "accounts_url", "notify_url")
"""Fields of a connector's `config` with an address that it calls, or at which it is called."""

SIGNING: Final = "signing"
"""Name of a webhook's keys among its secrets: `whsec_` (v1) or `whsk_` (v1a)."""


@dataclass(frozen=True, slots=True)
class Secret:
    """A decrypted secret. Its value never appears in a log, a trace or a `repr`."""

    name: str
    value: SecretStr
    expires_at: datetime | None = None
    """When an old secret ends; None: the current one."""


class Route(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """Selects the messages of an endpoint; an empty tuple matches all."""

    event_types: tuple[str, ...] = ()
    owner_ids: tuple[str, ...] = ()
    """Owners of the tasks; a task without an owner then does not match."""
    queues: tuple[str, ...] = ()
    """Groups of task owners: `owner`, `fast_response`, `self_service`, `unowned`."""
    policies: tuple[str, ...] = ()
    """Names of the policies that raised the tasks, without their versions."""

    def matches(self, task: Task, event_type: str) -> bool:
        """Return True when this change of the task is to be sent to the endpoint."""
        return (
            (not self.event_types or event_type in self.event_types)
            and (not self.owner_ids or task.owner_id in self.owner_ids)
            and (not self.queues or task.queue in self.queues)
            and (not self.policies or task.policy.partition("@")[0] in self.policies)
        )


EVERYTHING: Final = Route()


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """An endpoint as the sender needs it."""

    id: str
    kind: Kind = "webhook"
    url: str | None = None
    """URL of a webhook; a connector builds its own from `config`."""
    config: Mapping[str, Any] = field(default_factory=dict)
    """Settings of its connector, besides the secrets."""
    secrets: tuple[Secret, ...] = ()
    """Newest first."""
    route: Route = EVERYTHING
    payload: Payload = "full"
    concurrency_max: int = 8
    """Requests under way at once in one process."""
    rate_per_s: float | None = None
    """Messages a second over all processes; None: no limit."""
    burst: int = 1
    """Messages that may leave at once after a pause, where there is a rate."""
    version: int = 1
    """Grows with every change of the fields above."""

    def plain(self) -> str | None:
        """Return the first field with an address that is not https; None where all are https.

        Any other protocol could expose a secret or a customer's data in transit.
        """
        named: dict[str, Any] = {"url": self.url}
        named |= {f"config.{name}": self.config.get(name) for name in ADDRESSES}
        for name, address in named.items():
            if address is not None and str(address).partition(":")[0].lower() != "https":
                return name
        return None

    def secret(self, name: str, now: datetime) -> str | None:
        """Return the decrypted current secret of this name; None where there is none."""
        return next(iter(self.valid_secrets(name, now)), None)

    def valid_secrets(self, name: str, now: datetime) -> list[str]:
        """Return the secrets of this name that are valid at `now` (UTC), newest first."""
        return [
            s.value.get_secret_value()
            for s in self.secrets
            if s.name == name and (s.expires_at is None or s.expires_at > now)
        ]
