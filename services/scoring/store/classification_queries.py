"""Queries of classifications for users: segment members, lists to act on, one customer, counts."""

from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from services.scoring.store.tables import customer_state, treatment
from services.scoring.store.value_tables import segment_member, standing, standing_change
from shared.postgres.statements import Statements, select

CHANGES_SHOWN_MAX: Final = 200
"""Changes returned of one customer, newest first."""
_ROW: Final = tuple(
    column
    for column in standing.c
    if column.name not in {"partition", "sequence", "rules_revision", "policy_version", "score"}
)
After = tuple[float, str]
"""Sort value and customer id of the previous page's last row."""


class ClassificationQueries(Statements):
    """Read-only statements on classifications."""

    async def members(self, segment_id: str, after: str, limit: int) -> list[dict[str, Any]]:
        """Reads the members of a segment by customer id, with the time of entry."""
        m = segment_member
        query = (
            sa.select(m.c.entered_at, *_ROW)
            .join(standing, standing.c.customer_id == m.c.customer_id)
            .where(m.c.segment_id == segment_id, m.c.customer_id > after)
            .order_by(m.c.customer_id)
            .limit(limit)
        )
        return await select(self._engine, query)

    async def potential(self, after: After | None, limit: int) -> list[dict[str, Any]]:
        """Reads customers of grade potential with a lifetime value, the most valuable first."""
        s = standing.c
        query = sa.select(*_ROW).where(s.grade == "potential", s.worth.is_not(None))
        return await select(self._engine, _paged(query, s.worth, after, limit))

    async def win_back(self, after: After | None, limit: int) -> list[dict[str, Any]]:
        """Reads churned customers with a positive net spend, the greatest first."""
        s, t = standing.c, treatment.c
        learned = (
            sa.select(t.leaving_cause)
            .where(t.customer_id == s.customer_id, t.leaving_cause.is_not(None))
            .order_by(t.at.desc())
            .limit(1)
            .scalar_subquery()
        )
        query = (
            sa.select(
                *_ROW,
                customer_state.c.published_signs.label("signs"),
                learned.label("leaving_cause"),
            )
            .outerjoin(customer_state, customer_state.c.customer_id == s.customer_id)
            .where(s.lifecycle == "churned", s.net_spent > 0)
        )
        return await select(self._engine, _paged(query, s.net_spent, after, limit))

    async def one(self, customer_id: str) -> dict[str, Any] | None:
        """Reads the classification of a customer; None where there is none."""
        query = sa.select(*_ROW).where(standing.c.customer_id == customer_id)
        rows = await select(self._engine, query)
        return rows[0] if rows else None

    async def changes(self, customer_id: str) -> list[dict[str, Any]]:
        """Reads the changes of a customer's classification, newest first."""
        c = standing_change.c
        query = (
            sa.select(c.at, c.sequence, c.kind, c.before, c.after, c.segment, c.silent)
            .where(c.customer_id == customer_id)
            .order_by(c.sequence.desc())
            .limit(CHANGES_SHOWN_MAX)
        )
        return await select(self._engine, query)

    async def counts(self) -> dict[str, dict[str, int]]:
        """Counts customers by grade, tier, behaviour, lifecycle, RFM cell and quality flag.

        Reads every classification: meant for users and reports, not for a scrape.
        """
        found: dict[str, dict[str, int]] = {}
        for name in ("grade", "tier", "behaviour", "lifecycle", "rfm_cell"):
            column = sa.func.coalesce(standing.c[name], "none").label("word")
            query = sa.select(column, sa.func.count().label("n")).group_by(column)
            found[name] = {row["word"]: row["n"] for row in await select(self._engine, query)}
        flag = sa.func.unnest(standing.c.quality).label("word")
        flags = sa.select(flag).subquery()
        query = sa.select(flags.c.word, sa.func.count().label("n")).group_by(flags.c.word)
        found["quality"] = {row["word"]: row["n"] for row in await select(self._engine, query)}
        return found

    async def moves(self, kind: str, until: datetime) -> list[tuple[str, datetime, str | None]]:
        """Reads (customer, at, after) of one kind of change up to a time, in order."""
        c = standing_change.c
        query = (
            sa.select(c.customer_id, c.at, c.after)
            .where(c.kind == kind, c.at <= until)
            .order_by(c.customer_id, c.sequence)
        )
        return [(r["customer_id"], r["at"], r["after"]) for r in await select(self._engine, query)]

    async def segment_moves(self, until: datetime) -> list[tuple[str, str, datetime, bool]]:
        """Reads (segment, customer, at, entered) up to a time, in order."""
        c = standing_change.c
        query = (
            sa.select(c.segment, c.customer_id, c.at, c.kind)
            .where(c.segment.is_not(None), c.at <= until)
            .order_by(c.customer_id, c.sequence)
        )
        return [
            (r["segment"], r["customer_id"], r["at"], r["kind"] == "segment_entered")
            for r in await select(self._engine, query)
        ]

    async def newest(self) -> datetime | None:
        """Reads the business time of the newest classification."""
        rows = await select(self._engine, sa.select(sa.func.max(standing.c.at).label("at")))
        at: datetime | None = rows[0]["at"]
        return at

    async def worth(self) -> dict[str, float]:
        """Reads lifetime values by customer, where stored."""
        s = standing.c
        query = sa.select(s.customer_id, s.lifetime_value).where(s.lifetime_value.is_not(None))
        return {r["customer_id"]: r["lifetime_value"] for r in await select(self._engine, query)}


def _paged(
    query: sa.Select[Any], by: sa.ColumnElement[float], after: After | None, limit: int
) -> sa.Select[Any]:
    """Orders by value, greatest first, ties by customer id, and selects the page."""
    name = standing.c.customer_id
    if after is not None:
        value, customer = after
        query = query.where(sa.or_(by < value, sa.and_(by == value, name > customer)))
    return query.order_by(by.desc(), name).limit(limit)
