"""Sends a sample to an endpoint at once and returns the answer, for operators.

Nothing is queued.
"""

from dataclasses import dataclass
from datetime import timedelta
from uuid import uuid4

from sqlalchemy.ext.asyncio import AsyncEngine

from services.alerts.core.webhook_payload import SAMPLE_TASK_ID, sample
from services.alerts.delivery.attempt import attempt
from services.alerts.delivery.core.retry import Answer
from services.alerts.delivery.ports import Connectors, Leased
from services.alerts.delivery.store.endpoint_admin import NoEndpoint
from services.alerts.delivery.store.endpoints import Endpoints
from shared.postgres.engine import unit_of_work
from shared.runtime.clock import Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class SendSample:
    """Sends a sample to an endpoint, even to one that is paused or switched off."""

    engine: AsyncEngine
    endpoints: Endpoints
    connectors: Connectors
    clock: Clock
    timeout_s: float

    async def __call__(self, endpoint_id: str) -> Answer:
        """Return the answer; raise NoEndpoint when there is no such endpoint."""
        async with unit_of_work(self.engine) as work:
            endpoint = await self.endpoints.find(work, endpoint_id)
        if endpoint is None:
            raise NoEndpoint(endpoint_id)
        now = self.clock.now()
        token = uuid4()
        delivery = Leased(
            customer_id="sample-customer",
            id=f"msg_test_{token.hex}",
            endpoint_id=endpoint_id,
            task_id=SAMPLE_TASK_ID,
            kind="endpoint.test",
            body=sample(now),
            attempts=0,
            uncertain=False,
            remote_id=None,
            token=token,
            until=now + timedelta(seconds=self.timeout_s),
            received_ms=0,
        )
        return (await attempt(self.connectors, endpoint, delivery, now, self.timeout_s)).answer
