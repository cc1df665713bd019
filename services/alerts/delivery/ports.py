"""What delivery needs of the world: queued messages, leases, endpoints and connectors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from services.alerts.core.webhook_payload import Kind
from services.alerts.delivery.core.endpoint import Endpoint, Payload, Route
from services.alerts.delivery.core.retry import Answer, Outcome
from shared.postgres.engine import Driver, UnitOfWork

ALONE_FROM = 2
"""Leases of a delivery lost in a row from which on it is sent alone; from there on only deaths
while it is sent count. One says nothing: a process that is killed leaves some hundreds."""


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


@dataclass(frozen=True, slots=True)
class Leased:
    """A delivery that this worker may attempt until `until`."""

    customer_id: str
    id: str
    endpoint_id: str
    task_id: str
    kind: str
    body: bytes
    """A `core.webhook_payload.Body` as JSON."""
    attempts: int
    """Made so far."""
    uncertain: bool
    """The last attempt was ambiguous: it may be there already."""
    remote_id: str | None
    """What the receiving system calls the task, where an earlier message of it told us."""
    token: UUID
    until: datetime
    received_ms: int
    lost: int = 0
    """Leases in a row that ran out without an outcome, and then the times that it was sent alone
    without one: the processes ended, or stood still."""


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
    """Whether the next attempt must look before it creates."""


@dataclass(frozen=True, slots=True)
class Routed:
    """An endpoint as whoever queues messages sees it."""

    endpoint_id: str
    route: Route
    payload: Payload


class Deliveries(Protocol):
    """The queue of messages to endpoints, and the log of attempts."""

    async def add(self, work: UnitOfWork, deliveries: Sequence[NewDelivery]) -> None: ...
    async def look(
        self, driver: Driver, endpoints: Sequence[str], now: datetime
    ) -> tuple[Mapping[str, int], bool]: ...
    async def claim(
        self, work: UnitOfWork, most: Mapping[str, int], now: datetime, until: datetime
    ) -> list[Leased]: ...
    async def settle(
        self, work: UnitOfWork, attempts: Sequence[Attempted]
    ) -> Mapping[str, str]: ...
    async def release(self, work: UnitOfWork, leased: Sequence[Leased], now: datetime) -> None: ...
    async def begin_alone(self, work: UnitOfWork, message: Leased) -> None: ...


class Routes(Protocol):
    """Where messages are to be queued."""

    async def routes(self, work: UnitOfWork) -> Sequence[Routed]: ...


class Endpoints(Protocol):
    """The endpoints that may be sent to, and their rates."""

    async def sendable(self, work: UnitOfWork) -> Sequence[Endpoint]: ...
    async def take(
        self, work: UnitOfWork, wanted: Mapping[str, int], now: datetime
    ) -> Mapping[str, int]: ...
    async def give_back(self, work: UnitOfWork, unused: Mapping[str, int]) -> None: ...


class EndpointFinder(Protocol):
    """An endpoint by its id."""

    async def find(self, work: UnitOfWork, endpoint_id: str) -> Endpoint | None: ...


class Connector(Protocol):
    """One endpoint's way into a receiving system. It reads what the system answers into one of
    the six results (`delivery.core.retry.Result`); it never decides when to try again.

    Errors that it meets are answers too: it raises for bugs only. What it holds (an access
    token) is shared by all attempts of a process, several of which may be under way at once.
    """

    async def send(self, message: Leased, at: datetime) -> Answer:
        """Create or change the task once, at `at` (UTC)."""
        ...

    async def find(self, message: Leased, at: datetime) -> Answer | None:
        """After an ambiguous attempt: look the task up by our key. None: it is not there and
        may be created; `ok`: it is there, as the message wants it; else: it is not known yet."""
        ...

    async def refresh(self, since: datetime) -> Answer | None:
        """After `refresh_token`: get a new token, unless one was got after `since`. None: done;
        an answer: why not."""
        ...

    async def close(self) -> None:
        """Let go what is held."""
        ...


class Connectors(Protocol):
    """The connector of each endpoint."""

    def of(self, endpoint: Endpoint) -> Connector: ...
