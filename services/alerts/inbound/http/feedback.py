"""HTTP routes of customers' feedback: a list for the people who read and answer it."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException
from pydantic import BaseModel, ConfigDict

from services.alerts.inbound.http.dependencies import Parts
from services.alerts.store import feedback as feedback_store
from services.alerts.store.feedback import FeedbackFilter, State
from shared.contracts.events import FeedbackKind
from shared.http.access import require
from shared.http.declared import audits
from shared.http.fields import Instant
from shared.http.paging import Cursor, Limit, of_cursor, page_of, serial, time
from shared.postgres.engine import unit_of_work


class FeedbackView(BaseModel):
    """What a customer said, with what is known of the customer now."""

    id: str
    customer_id: str
    came_with: str
    """The id that it came with: `customer_id`, or another of the customer's ids."""
    customer_name: str | None
    owner_id: str | None
    grade: str | None
    band: str | None
    value_at_risk: float | None
    """In `currency`, as of the newest assessment; None: there is none."""
    currency: str | None
    at: datetime
    kind: FeedbackKind
    score: float | None
    """0 to 10."""
    text: str | None
    channel: str | None
    case_id: str | None
    source: str
    event_id: str
    state: State
    state_at: datetime | None
    state_by: str | None
    """The token's name, or the operator's."""


class FeedbackPage(BaseModel):
    """Feedback, newest first."""

    items: list[FeedbackView]
    next: str | None


class StateBody(BaseModel):
    """The new state of one feedback."""

    model_config = ConfigDict(extra="forbid")

    state: State


def add_feedback(app: FastAPI, parts: Parts) -> None:
    """Add `/v1/feedback`."""
    reads = [Depends(require(parts.tokens, "customers:read"))]
    writer = require(parts.tokens, "tasks:write")

    @app.get("/v1/feedback", dependencies=reads, tags=["feedback"])
    async def list_feedback(
        kind: FeedbackKind | None = None,
        state: State | None = None,
        customer_id: str | None = None,
        owner: str | None = None,
        since: Instant | None = None,
        until: Instant | None = None,
        cursor: Cursor = None,
        limit: Limit = 50,
    ) -> FeedbackPage:
        """List feedback, newest first; `kind=suggestion&state=new`: what is not read yet."""
        chosen = FeedbackFilter(kind, state, customer_id, owner, since, until)
        before = None if cursor is None else _key(cursor)
        async with unit_of_work(parts.engine) as work:
            found = await feedback_store.page(work, chosen, before, limit + 1)
        page, after = page_of(found, limit, lambda row: f"{row['at'].isoformat()} {row['seq']}")
        return FeedbackPage(items=[_view(row) for row in page], next=after)

    @app.put("/v1/feedback/{feedback_id}/state", tags=["feedback"])
    @audits("personal")
    async def mark_feedback(
        feedback_id: str, body: StateBody, actor: Annotated[str, Depends(writer)]
    ) -> FeedbackView:
        """Mark feedback as `read`, `answered` or `new` again. Repeating it changes nothing."""
        async with unit_of_work(parts.engine) as work:
            now = parts.clock.now()
            found = await feedback_store.mark(work, feedback_id, body.state, actor, now)
        if found is None:
            raise HTTPException(404, f"no feedback {feedback_id!r}")
        return _view(found)


def _view(row: dict[str, Any]) -> FeedbackView:
    return FeedbackView.model_validate(row)


def _key(cursor: str) -> tuple[datetime, int]:
    at, number = of_cursor(cursor, time)
    return at, serial(number)
