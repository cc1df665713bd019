"""Deliveries over HTTP: what was sent where, and every attempt."""

from datetime import datetime

from fastapi import Depends, FastAPI, HTTPException
from pydantic import BaseModel

from services.alerts.store.delivery_log import DeliveryFilter, DeliveryLog, DeliveryStatus
from shared.http.access import Tokens, require
from shared.http.paging import Limit, decoded, encoded, invalid_cursor


class AttemptView(BaseModel):
    """One attempt."""

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


class DeliveryPage(BaseModel):
    """Deliveries, newest first."""

    items: list[DeliveryView]
    next: str | None


class DeliveryWithAttempts(DeliveryView):
    """A delivery with its log."""

    tries: list[AttemptView]


def add_deliveries(app: FastAPI, log: DeliveryLog, tokens: Tokens) -> None:
    """Add `/v1/deliveries`."""
    reads = [Depends(require(tokens, "customers:read"))]

    @app.get("/v1/deliveries", dependencies=reads)
    async def list_deliveries(
        status: DeliveryStatus | None = None,
        endpoint: str | None = None,
        customer_id: str | None = None,
        task_id: str | None = None,
        cursor: str | None = None,
        limit: Limit = 50,
    ) -> DeliveryPage:
        """Deliveries, newest first."""
        chosen = DeliveryFilter(status, endpoint, customer_id, task_id)
        before = None if cursor is None else _delivery_cursor(cursor)
        found = await log.page(chosen, before, limit + 1)
        rest = len(found) > limit
        found = found[:limit]
        return DeliveryPage(
            items=[DeliveryView.model_validate(row) for row in found],
            next=encoded(str(found[-1]["seq"]) if rest else None),
        )

    @app.get("/v1/deliveries/{delivery_id}", dependencies=reads)
    async def read_delivery(delivery_id: str) -> DeliveryWithAttempts:
        """One delivery with every attempt."""
        found = await log.find(delivery_id)
        if found is None:
            raise HTTPException(404, f"no delivery {delivery_id!r}")
        return DeliveryWithAttempts.model_validate(found)


def _delivery_cursor(cursor: str) -> int:
    text = decoded(cursor)
    if not text.isascii() or not text.isdigit() or len(text) > 18:  # noqa: PLR2004 (fits 64 bits)
        raise invalid_cursor()
    return int(text)
