"""HTTP routes of the messages to customers, and of the customers who unsubscribed."""

from collections.abc import Mapping
from datetime import datetime
from operator import itemgetter
from typing import Any

from fastapi import Depends, FastAPI
from pydantic import BaseModel

from services.alerts.core.consent_history import Said
from services.alerts.core.customer_message import Status, Suppression
from services.alerts.inbound.http.dependencies import Parts
from services.alerts.store import consents as consent_store
from services.alerts.store import customer_messages as message_store
from services.alerts.store.customer_messages import MessageFilter
from shared.contracts.customer_message import Result
from shared.http.access import require
from shared.http.paging import (
    Cursor,
    Limit,
    decoded,
    invalid_cursor,
    page_of,
    serial,
    time,
)
from shared.postgres.engine import unit_of_work


class MessageView(BaseModel):
    """A message to a customer; `GET /v1/deliveries/{id}` shows its attempts."""

    id: str
    customer_id: str
    task_id: str
    playbook: str
    caused_at: datetime
    status: Status
    reason: Suppression | None
    """Why it is not sent; only where it is suppressed."""
    due_at: datetime
    """When it is decided on next; only while it waits."""
    channel: str | None
    endpoint_id: str | None
    handed_at: datetime | None
    outcome: Result | None
    """The gravest result that the provider reported; None: no report yet."""
    outcome_at: datetime | None
    outcome_reason: str | None


class MessagePage(BaseModel):
    """Messages to customers, newest first."""

    items: list[MessageView]
    next: str | None


class UnsubscriptionView(BaseModel):
    """A customer's newest unsubscription from a channel."""

    customer_id: str
    """The id that it came with; a customer with several is unsubscribed if one of them is."""
    channel: str
    """In lower case; `*`: all channels."""
    unsubscribed_at: datetime
    subscribed_at: datetime | None
    """The newest return; a later one than `unsubscribed_at` ends the unsubscription."""
    reported_by: str


class UnsubscriptionPage(BaseModel):
    """Unsubscriptions, newest first."""

    items: list[UnsubscriptionView]
    next: str | None


class WishView(BaseModel):
    """What a customer allowed or refused."""

    customer_id: str
    about: str
    """A channel in lower case; `*`: any contact, or all channels; `profiling`: being assessed."""
    said: Said
    at: datetime
    """Time of the statement, by the source's clock."""
    source: str
    event_id: str
    late: bool
    """It was read after a newer profile, which is valid."""
    recorded_at: datetime


class WishPage(BaseModel):
    """Wishes, the last read first."""

    items: list[WishView]
    next: str | None


def add_messages(app: FastAPI, parts: Parts) -> None:
    """Add `/v1/messages`, `/v1/unsubscriptions` and `/v1/wishes`."""
    reads = [Depends(require(parts.tokens, "customers:read"))]

    @app.get("/v1/messages", dependencies=reads, tags=["messages"])
    async def list_messages(
        status: Status | None = None,
        customer_id: str | None = None,
        task_id: str | None = None,
        cursor: Cursor = None,
        limit: Limit = 50,
    ) -> MessagePage:
        """List messages to customers, newest first, with the reason of those not sent."""
        chosen = MessageFilter(status, customer_id, task_id)
        before = None if cursor is None else serial(decoded(cursor))
        async with unit_of_work(parts.engine) as work:
            found = await message_store.page(work, chosen, before, limit + 1)
        page, after = page_of(found, limit, itemgetter("seq"))
        return MessagePage(items=[MessageView.model_validate(row) for row in page], next=after)

    @app.get("/v1/unsubscriptions", dependencies=reads, tags=["messages"])
    async def list_unsubscriptions(
        customer_id: str | None = None, cursor: Cursor = None, limit: Limit = 50
    ) -> UnsubscriptionPage:
        """List the newest unsubscription of each customer and channel, newest first."""
        before = None if cursor is None else _key(cursor)
        async with unit_of_work(parts.engine) as work:
            found = await consent_store.page(work, customer_id, before, limit + 1)
        page, after = page_of(found, limit, _key_of)
        items = [UnsubscriptionView.model_validate(row) for row in page]
        return UnsubscriptionPage(items=items, next=after)

    @app.get("/v1/wishes", dependencies=reads, tags=["messages"])
    async def list_wishes(customer_id: str, cursor: Cursor = None, limit: Limit = 50) -> WishPage:
        """List what a customer allowed and refused, with the source, the last read first."""
        before = None if cursor is None else serial(decoded(cursor))
        async with unit_of_work(parts.engine) as work:
            found = await consent_store.history(work, customer_id, before, limit + 1)
        page, after = page_of(found, limit, itemgetter("seq"))
        return WishPage(items=[WishView.model_validate(row) for row in page], next=after)


def _key_of(row: Mapping[str, Any]) -> str:
    return "\n".join((row["unsubscribed_at"].isoformat(), row["channel"], row["customer_id"]))


def _key(cursor: str) -> tuple[datetime, str, str]:
    """Return the row's key: its texts may hold spaces, and a channel holds no line break."""
    parts = decoded(cursor).split("\n", 2)
    if len(parts) != 3:  # noqa: PLR2004 (the parts of the key)
        raise invalid_cursor()
    return time(parts[0]), parts[2], parts[1]
