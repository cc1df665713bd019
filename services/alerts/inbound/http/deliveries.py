"""HTTP routes of deliveries and their attempts."""

from datetime import datetime
from operator import itemgetter
from typing import Any

from fastapi import Depends, FastAPI, HTTPException
from pydantic import BaseModel, ConfigDict

from services.alerts.delivery.store.delivery_log import DeliveryFilter, DeliveryLog, DeliveryStatus
from shared.http.access import Tokens, require
from shared.http.declared import audits
from shared.http.fields import Instant
from shared.http.paging import Cursor, Limit, decoded, page_of, serial
from shared.runtime.clock import Clock


class AttemptView(BaseModel):
    """One attempt of a delivery."""

    number: int
    started_at: datetime
    duration_ms: float
    outcome: str
    response_status: int | None
    response_head: str
    error: str | None
    next_at: datetime | None


class DeliveryView(BaseModel):
    """A message to an endpoint."""

    id: str
    endpoint_id: str
    customer_id: str
    task_id: str
    kind: str
    status: DeliveryStatus
    attempts: int
    next_at: datetime
    created_at: datetime
    finished_at: datetime | None
    reason: str | None
    """Why the last attempt failed; None after a success."""


class DeliveryPage(BaseModel):
    """Deliveries, newest first."""

    items: list[DeliveryView]
    next: str | None


class DeliveryWithAttempts(DeliveryView):
    """A delivery with all its attempts."""

    tries: list[AttemptView]


class RecoverBody(BaseModel):
    """The time since which failed deliveries are sent again."""

    model_config = ConfigDict(extra="forbid")

    since: Instant


class Recovered(BaseModel):
    """The number of deliveries that are sent again."""

    count: int


def add_deliveries(app: FastAPI, log: DeliveryLog, tokens: Tokens, clock: Clock) -> None:
    """Add `/v1/deliveries`."""
    reads = [Depends(require(tokens, "customers:read", "endpoints:write"))]
    _add_repeating(app, log, clock, [Depends(require(tokens, "endpoints:write"))])

    @app.get("/v1/deliveries", dependencies=reads)
    async def list_deliveries(
        status: DeliveryStatus | None = None,
        endpoint: str | None = None,
        customer_id: str | None = None,
        task_id: str | None = None,
        since: Instant | None = None,
        cursor: Cursor = None,
        limit: Limit = 50,
    ) -> DeliveryPage:
        """List deliveries, newest first; `status=failed` are those that were given up."""
        chosen = DeliveryFilter(status, endpoint, customer_id, task_id, since)
        before = None if cursor is None else serial(decoded(cursor))
        found = await log.page(chosen, before, limit + 1)
        page, after = page_of(found, limit, itemgetter("seq"))
        return DeliveryPage(items=[DeliveryView.model_validate(row) for row in page], next=after)

    @app.get("/v1/deliveries/{delivery_id}", dependencies=reads)
    async def read_delivery(delivery_id: str) -> DeliveryWithAttempts:
        """Return one delivery with every attempt."""
        found = await log.find(delivery_id)
        if found is None:
            raise HTTPException(404, f"no delivery {delivery_id!r}")
        return DeliveryWithAttempts.model_validate(found)


def _add_repeating(app: FastAPI, log: DeliveryLog, clock: Clock, rights: list[Any]) -> None:
    @app.post("/v1/deliveries/{delivery_id}/resend", dependencies=rights)
    @audits("kept")
    async def resend(delivery_id: str) -> DeliveryWithAttempts:
        """Send a delivery again under the same id, whatever its outcome was."""
        done = await log.resend(delivery_id, clock.now())
        found = await log.find(delivery_id)
        if found is None:
            raise HTTPException(404, f"no delivery {delivery_id!r}")
        if not done:
            raise HTTPException(409, "it is being sent right now: look again in a minute")
        return DeliveryWithAttempts.model_validate(found)

    @app.post("/v1/endpoints/{endpoint_id}/recover", dependencies=rights)
    @audits("kept")
    async def recover(endpoint_id: str, body: RecoverBody) -> Recovered:
        """Send again all failed deliveries that were created since a time."""
        return Recovered(count=await log.recover(endpoint_id, body.since, clock.now()))
