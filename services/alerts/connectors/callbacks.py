"""Parts that the callbacks of all vendors share, and the one refusal."""

import asyncio
from dataclasses import dataclass
from typing import Protocol

from fastapi import HTTPException
from sqlalchemy.ext.asyncio import AsyncEngine

from services.alerts import metrics
from services.alerts.connectors.store import PollRows
from services.alerts.connectors.wecom.card_click import HandleCardClick
from services.alerts.delivery.core.endpoint import Endpoint
from services.alerts.delivery.core.retry import Answer
from services.alerts.delivery.store.endpoints import Endpoints
from shared.kernel.errors import Invalid
from shared.postgres.engine import unit_of_work
from shared.runtime.clock import Clock


class CardKeeper(Protocol):
    """Shows the owner's answer on a card."""

    async def answered(
        self, endpoint: Endpoint, member: str, response_code: str, text: str
    ) -> Answer: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackContext:
    """What callbacks need of the service."""

    engine: AsyncEngine
    endpoints: Endpoints
    polls: PollRows
    poll_requested: asyncio.Event
    """Wakes the loop that polls for changes."""
    take_click: HandleCardClick
    cards: CardKeeper
    clock: Clock

    async def endpoint(self, endpoint_id: str, kind: str) -> Endpoint:
        """Return the endpoint of this kind; refuse the request where there is none."""
        async with unit_of_work(self.engine) as work:
            try:
                found = await self.endpoints.find(work, endpoint_id)
            except Invalid:
                found = None  # its secrets cannot be decrypted: nothing can be verified
        if found is None or found.kind != kind:
            raise HTTPException(403, "not a callback of ours")
        return found


def refused(endpoint: Endpoint) -> HTTPException:
    """Return the refusal of a request that did not prove its origin."""
    metrics.WAY_BACK.labels(endpoint.id, "refused").inc()
    return HTTPException(403, "not a callback of ours")
