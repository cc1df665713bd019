"""Checks a message to a customer once more just before each attempt, whatever its endpoint is.

Hours may pass between queueing a message and an attempt: the customer may have unsubscribed, or
sleeps.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime

from services.alerts.delivery.core.endpoint import Endpoint
from services.alerts.delivery.core.retry import Answer
from services.alerts.delivery.ports import Connector, Connectors, Leased
from shared.contracts.customer_message import SEND
from shared.kernel.errors import Transient

Refused = Callable[[Leased], Awaitable[str | None]]
"""Returns why a message must not be sent now; None: it may. May raise Transient."""


@dataclass(frozen=True, slots=True)
class Guarded:
    """The connectors, with the check before messages to customers."""

    inner: Connectors
    refused: Refused

    def of(self, endpoint: Endpoint) -> Connector:
        """Return the connector of an endpoint, with the check."""
        return _Guarded(self.inner.of(endpoint), self.refused)


@dataclass(frozen=True, slots=True)
class _Guarded:
    """One connector with the check."""

    inner: Connector
    refused: Refused

    async def send(self, delivery: Leased, at: datetime) -> Answer:
        """Send unless the message must not be sent now."""
        if delivery.kind == SEND:
            try:
                why = await self.refused(delivery)
            except Transient as trouble:
                return Answer("retry", error=f"waiting for PostgreSQL: {trouble}")
            if why is not None:
                return Answer("permanent", error=why)
        return await self.inner.send(delivery, at)

    async def find(self, delivery: Leased, at: datetime) -> Answer | None:
        """Search as the connector does."""
        return await self.inner.find(delivery, at)

    async def refresh(self, since: datetime) -> Answer | None:
        """Renew the token as the connector does."""
        return await self.inner.refresh(since)

    async def close(self) -> None:
        """Close the connector."""
        await self.inner.close()
