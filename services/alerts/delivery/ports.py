"""Interfaces of delivery: queued messages, leases, endpoints and connectors."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from services.alerts.core.webhook_payload import Kind
from services.alerts.delivery.core.endpoint import Endpoint, Payload, Route
from services.alerts.delivery.core.retry import Answer, Outcome

ALONE_FROM = 2
"""Leases of a delivery lost in a row from which on it is sent alone; from there on only deaths
while it is sent count. One lost lease is no evidence: a process that is killed leaves some
hundreds."""


@dataclass(frozen=True, slots=True)
class NewDelivery:
    """A message to one endpoint, due at once."""

    customer_id: str
    id: str
    endpoint_id: str
    task_id: str
    kind: Kind
    body: bytes
    created_at: datetime
    received_ms: int
    traceparent: str | None = None
    """Trace context of what caused it; None: unknown, as for what a timer causes."""


@dataclass(frozen=True, slots=True)
class Leased:
    """A delivery that this worker may attempt until `until`."""

    customer_id: str
    id: str
    endpoint_id: str
    task_id: str
    kind: str
    body: bytes
    """A `core.webhook_payload.WebhookPayload` as JSON."""
    attempts: int
    """Attempts made so far."""
    uncertain: bool
    """The last attempt was ambiguous: the message may have arrived already."""
    remote_id: str | None
    """The task's id in the receiving system, where an earlier message of it returned one."""
    token: UUID
    until: datetime
    received_ms: int
    lost: int = 0
    """Leases in a row that ran out without an outcome, then the times that the delivery was sent
    alone without one: the processes ended, or hung."""
    traceparent: str | None = None
    """Trace context of what caused it, where that is known."""


@dataclass(frozen=True, slots=True)
class Attempted:
    """An attempt that has ended, and what follows."""

    delivery: Leased
    started_at: datetime
    ended_at: datetime
    answer: Answer
    outcome: Outcome
    next_at: datetime | None
    uncertain: bool = False
    """Whether the next attempt must search before it creates."""


@dataclass(frozen=True, slots=True)
class Routed:
    """An endpoint as seen by the code that queues messages."""

    endpoint_id: str
    route: Route
    payload: Payload


class Connector(Protocol):
    """Connects one endpoint to a receiving system.

    It maps the system's answers to one of the six results (`delivery.core.retry.Result`); it never
    decides when to try again. Errors that it meets are answers too: it raises for bugs only. What
    it holds (an access token) is shared by all attempts of a process, several of which may be under
    way at once.
    """

    async def send(self, delivery: Leased, at: datetime) -> Answer:
        """Create or change the task once, at `at` (UTC)."""
        ...

    async def find(self, delivery: Leased, at: datetime) -> Answer | None:
        """Search for the task by our key, after an ambiguous attempt.

        None: it is not there and may be created; `ok`: it is there, in the message's state; else:
        unknown.
        """
        ...

    async def refresh(self, since: datetime) -> Answer | None:
        """Get a new token, after `refresh_token`, unless one was obtained after `since`.

        None: done; an answer: why not.
        """
        ...

    async def close(self) -> None:
        """Release what is held."""
        ...


class Connectors(Protocol):
    """Returns the connector of each endpoint.

    Implemented by `connectors.registry.Connectors`, for the sender wrapped in
    `delivery.guarded.Guarded`; wired in `components.Alerts.deliver`.
    """

    def of(self, endpoint: Endpoint) -> Connector: ...
