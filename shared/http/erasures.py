"""HTTP API of erasures: what this service has done for a request to forget a customer."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Literal

from fastapi import Depends, FastAPI, HTTPException, Path
from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncEngine

from shared.contracts.topics import Topic
from shared.http.access import Tokens, require
from shared.postgres.engine import unit_of_work
from shared.postgres.erasures import Erased, Erasures

REQUEST_CHARS_MAX = 100
"""Characters of a request's id, which ingest assigns: 32."""
NOTHING_FOUND = (
    "this service has nothing stored under this id: check its spelling, and send the request again "
    "with the id under which the customer's events come"
)

RequestId = Annotated[str, Path(min_length=1, max_length=REQUEST_CHARS_MAX)]


class AgingOut(BaseModel):
    """A topic whose records cannot be deleted singly."""

    topic: str
    until: datetime
    """When the last record from before the request is deleted, by the topic's usual retention."""


class ErasureView(BaseModel):
    """One service's part in an erasure."""

    request_id: str
    state: Literal["erasing", "done"]
    requested_at: datetime
    done_at: datetime | None
    rows: dict[str, int]
    """Rows deleted or made anonymous, by table."""
    note: str | None
    ages_out: list[AgingOut]


def add_erasure_routes(
    app: FastAPI,
    engine: AsyncEngine,
    erasures: Erasures,
    tokens: Tokens,
    topics: Sequence[Topic],
) -> None:
    """Add `GET /v1/erasures/{request_id}`; `topics`: those with records written by the service."""
    erases = [Depends(require(tokens, "customers:erase", "data:write"))]

    @app.get("/v1/erasures/{request_id}", dependencies=erases, tags=["erasures"])
    async def erasure(request_id: RequestId) -> ErasureView:
        """Return whether this service has erased the customer, and what was deleted."""
        async with unit_of_work(engine) as work:
            found = await erasures.find(work, request_id)
        if found is None:
            raise HTTPException(
                404, f"no erasure {request_id!r} has arrived here (yet): it comes with the events"
            )
        return view(found, topics)


def view(found: Erased, topics: Sequence[Topic]) -> ErasureView:
    """Returns what an answer shows of an erasure."""
    return ErasureView(
        request_id=found.request_id,
        state="erasing" if found.done_at is None else "done",
        requested_at=found.requested_at,
        done_at=found.done_at,
        rows=found.rows,
        note=None if found.rows or found.done_at is None else NOTHING_FOUND,
        ages_out=[
            AgingOut(topic=topic.name, until=found.requested_at + kept)
            for topic in topics
            if (kept := topic.retention) is not None
        ],
    )
