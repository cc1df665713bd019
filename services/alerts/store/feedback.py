"""Stores feedback of customers, and lists it for the people who read and answer it.

Statements on `alerts.feedback`, within an open transaction.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

import sqlalchemy as sa

from services.alerts.core.ids import stable_id
from services.alerts.ports import FeedbackSeen
from services.alerts.store.merges import ids_of
from services.alerts.store.rows import equal
from services.alerts.store.tables import customer as c
from services.alerts.store.tables import feedback as f
from shared.contracts.events import FeedbackKind
from shared.postgres.engine import UnitOfWork
from shared.postgres.statements import rows_of

State = Literal["new", "read", "answered"]

_OWNER: Final = c.c.profile["owner"]["id"].astext
_o: Final = c.alias("came")
"""The row of the id that feedback came with; `c` is the customer's."""
_PRIMARY: Final = sa.func.coalesce(_o.c.part_of, f.c.customer_id)
_FROM: Final = f.outerjoin(_o, f.c.customer_id == _o.c.customer_id).outerjoin(
    c, c.c.customer_id == _PRIMARY
)
_SHOWN: Final = (
    *(column for column in f.c if column.name != "customer_id"),
    _PRIMARY.label("customer_id"),
    f.c.customer_id.label("came_with"),
    c.c.profile["name"].astext.label("customer_name"),
    _OWNER.label("owner_id"),
    c.c.grade,
    c.c.band,
    c.c.value_at_risk,
    c.c.currency,
)


@dataclass(frozen=True, slots=True)
class FeedbackFilter:
    """Selects the feedback to list; None: all."""

    kind: FeedbackKind | None = None
    state: State | None = None
    customer_id: str | None = None
    """Any id of a customer."""
    owner_id: str | None = None
    """The present owner of the customer."""
    since: datetime | None = None
    """Given at this time or later."""
    until: datetime | None = None
    """Given before this time."""


def feedback_id(customer_id: str, source: str, event_id: str) -> str:
    """Return the id of the feedback of an event."""
    return "fb_" + stable_id("feedback", customer_id, source, event_id)


async def add(work: UnitOfWork, seen: Sequence[FeedbackSeen]) -> None:
    """Store feedback once for each event; what a backfill brings counts as read."""
    if not seen:
        return
    rows = {feedback_id(x.customer_id, x.source, x.event_id): x for x in seen}
    ordered = sorted(rows.items(), key=lambda row: (row[1].customer_id, row[0]))
    await work.driver.execute(
        """
        INSERT INTO alerts.feedback (id, customer_id, source, event_id, at, kind, score, text,
                                     channel, case_id, state)
        SELECT u.* FROM unnest($1::text[], $2::text[], $3::text[], $4::text[],
            $5::timestamptz[], $6::text[], $7::float8[], $8::text[], $9::text[], $10::text[],
            $11::text[]) AS u
        ON CONFLICT (customer_id, id) DO NOTHING
        """,
        [name for name, _ in ordered],
        *(
            [getattr(x, field) for _, x in ordered]
            for field in (
                "customer_id", "source", "event_id", "at", "kind", "score", "text", "channel",
                "case_id",
            )
        ),
        ["read" if x.history else "new" for _, x in ordered],
    )  # fmt: skip


async def page(
    work: UnitOfWork,
    chosen: FeedbackFilter,
    before: tuple[datetime, int] | None,
    most: int,
) -> list[dict[str, Any]]:
    """Return at most `most` rows, newest first, those before `before` = (at, seq)."""
    query = sa.select(*_SHOWN).select_from(_FROM)
    query = query.where(
        *equal(
            (f.c.kind, chosen.kind),
            (f.c.state, chosen.state),
            (_OWNER, chosen.owner_id),
        )
    )
    if chosen.customer_id is not None:
        query = query.where(f.c.customer_id.in_(ids_of(chosen.customer_id)))
    if chosen.since is not None:
        query = query.where(f.c.at >= chosen.since)
    if chosen.until is not None:
        query = query.where(f.c.at < chosen.until)
    if before is not None:
        query = query.where(sa.tuple_(f.c.at, f.c.seq) < sa.tuple_(*before))
    query = query.order_by(f.c.at.desc(), f.c.seq.desc()).limit(most)
    return await rows_of(work, query)


async def mark(
    work: UnitOfWork, feedback: str, state: State, actor: str, now: datetime
) -> dict[str, Any] | None:
    """Set the state of a row and return the row; None when there is none of this id.

    Setting the state that it has changes nothing, so that the first actor stays.
    """
    change = f.update().where(f.c.id == feedback, f.c.state != state)
    await work.connection.execute(change.values(state=state, state_at=now, state_by=actor))
    query = sa.select(*_SHOWN).select_from(_FROM)
    row = (await work.connection.execute(query.where(f.c.id == feedback))).mappings()
    found = row.one_or_none()
    return None if found is None else dict(found)
