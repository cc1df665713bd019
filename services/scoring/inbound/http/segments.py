"""HTTP API of the user's own segments: define, change, retire, list members.

Reading requires `customers:read` or `segments:write` (members: the former), defining the latter.
The response to a mistake in a rule contains its line and column. A saved definition is in force
within about a second; every customer is assessed by it within minutes (docs/segmentation.md).
"""

from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import Depends, FastAPI, HTTPException, Path
from pydantic import BaseModel, Field, StrictBool

from services.scoring.core.segments.expression import CHARS_MAX
from services.scoring.core.segments.rules import ID_PATTERN, NAMES, runnable
from services.scoring.inbound.http.value import ClassificationPage, ClassificationView, example
from services.scoring.store.audited import SEGMENT
from services.scoring.store.classification_queries import ClassificationQueries
from services.scoring.store.definitions import Decisions, SegmentDefinition
from shared.http.access import Tokens, require
from shared.http.declared import audits
from shared.http.fields import Whole
from shared.http.paging import Cursor, Limit, decoded, page_of
from shared.runtime.clock import Clock

NewId = Annotated[str, Path(pattern=ID_PATTERN)]
SegmentId = Annotated[str, Path(min_length=1, max_length=200)]
"""Any stored id: a command of an earlier version made ids of other forms."""

EXAMPLE: Final[dict[str, Any]] = {
    "name": "Quiet big spenders",
    "description": "High value, silent for longer than usual",
    "expression": "tier == 'high' && silence_over_gap_mean > 1.5 && region in ['Hamburg', 'Köln']",
    "action": "personal-call",
    "act_on_existing": False,
    "version": 0,
}


VIEW: Final[dict[str, Any]] = {
    **EXAMPLE,
    "id": "quiet-spenders",
    "version": 1,
    "created_at": "2026-01-05T10:00:00Z",
    "retired": False,
    "customers": 57,
}


class SegmentIn(BaseModel):
    """Segment as its author defines it."""

    model_config = {"json_schema_extra": {"examples": [EXAMPLE]}}

    name: str = Field(min_length=1, max_length=100)
    description: str = Field("", max_length=1_000)
    expression: str = Field(min_length=1, max_length=CHARS_MAX, description="A CEL rule over NAMES")
    action: str | None = Field(
        None, max_length=100, description="A playbook, triggered once on entry"
    )
    act_on_existing: StrictBool = Field(
        default=False,
        description="Also for customers who are inside already when the definition is saved",
    )
    version: Whole = Field(
        0, ge=0, description="The version that you change; 0 for a new segment: guards against two "
        "authors at once",
    )  # fmt: skip


class SegmentView(BaseModel):
    """Segment with its newest definition."""

    model_config = {"json_schema_extra": {"examples": [VIEW]}}

    id: str
    version: int
    name: str
    description: str
    expression: str
    action: str | None
    act_on_existing: bool
    created_at: datetime
    retired: bool
    customers: int | None = Field(None, description="Members now")


def add_segment_routes(
    app: FastAPI, lists: ClassificationQueries, decisions: Decisions, tokens: Tokens, clock: Clock
) -> None:
    """Adds `/v1/segments...`."""
    _add_reads(app, decisions, [Depends(require(tokens, "customers:read", "segments:write"))])
    _add_members(app, lists, decisions, [Depends(require(tokens, "customers:read"))])
    _add_decisions(app, decisions, clock, [Depends(require(tokens, "segments:write"))])


def _add_reads(app: FastAPI, decisions: Decisions, rights: list[Any]) -> None:
    @app.get("/v1/segments", dependencies=rights, responses=example({"items": [VIEW]}))
    async def segments() -> dict[str, list[SegmentView]]:
        """Lists every segment in force, with its number of customers."""
        sizes = await decisions.sizes()
        found = [_view(one, sizes.get(one.id, 0)) for one in await decisions.segments()]
        return {"items": found}

    @app.get(
        "/v1/segments/names",
        dependencies=rights,
        responses=example({"band": "text", "purchases": "number"}),
    )
    async def names() -> dict[str, str]:
        """Lists the names that a rule may use, with their types."""
        return dict(sorted(NAMES.items()))

    @app.get("/v1/segments/{segment_id}", dependencies=rights)
    async def segment(segment_id: SegmentId) -> SegmentView:
        """Returns the newest version of a segment."""
        found = await decisions.segment(segment_id)
        if found is None:
            raise HTTPException(404, f"no segment {segment_id!r}")
        return _view(found, (await decisions.sizes()).get(segment_id, 0))


def _add_members(
    app: FastAPI, lists: ClassificationQueries, decisions: Decisions, rights: list[Any]
) -> None:
    @app.get("/v1/segments/{segment_id}/customers", dependencies=rights)
    async def customers(
        segment_id: SegmentId, cursor: Cursor = None, limit: Limit = 50
    ) -> ClassificationPage:
        """Lists the present members of the segment, by customer id."""
        if await decisions.segment(segment_id) is None:
            raise HTTPException(404, f"no segment {segment_id!r}")
        after = "" if cursor is None else decoded(cursor)
        rows = await lists.members(segment_id, after, limit + 1)
        shown, cut = page_of(rows, limit, lambda last: last["customer_id"])
        return ClassificationPage(items=[ClassificationView(**row) for row in shown], next=cut)


def _add_decisions(app: FastAPI, decisions: Decisions, clock: Clock, rights: list[Any]) -> None:
    @app.put("/v1/segments/{segment_id}", dependencies=rights)
    @audits("kept", SEGMENT)
    async def save(segment_id: NewId, given: SegmentIn) -> SegmentView:
        """Defines or changes a segment: give the `version` that you have read."""
        runnable(given.expression)
        definition = SegmentDefinition(
            id=segment_id, created_at=clock.now(), **given.model_dump(exclude={"version"})
        )
        return _view(await decisions.save_segment(definition, given.version), None)

    @app.delete("/v1/segments/{segment_id}", dependencies=rights)
    @audits("kept", SEGMENT)
    async def retire(segment_id: SegmentId) -> SegmentView:
        """Retires a segment: its members leave it at their next assessment, without messages."""
        retired = await decisions.retire_segment(segment_id, clock.now())
        if retired is None:
            raise HTTPException(404, f"no segment {segment_id!r} is in force")
        return _view(retired, None)


def _view(one: SegmentDefinition, customers: int | None) -> SegmentView:
    return SegmentView(**asdict(one), customers=customers)
