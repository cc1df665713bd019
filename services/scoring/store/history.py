"""Reads for users and for training: customers, published assessments and all stored events."""

import math
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal, NamedTuple

import sqlalchemy as sa

from services.scoring.ports import PublishedAssessment
from services.scoring.store.tables import assessment_history, customer_state
from services.scoring.store.tables import profile as profile_table
from shared.contracts.activity import DECODER, ENCODER
from shared.contracts.risk import BANDS
from shared.postgres.outbox import Message
from shared.postgres.statements import Statements, fetch, fetch_in_chunks, fetch_value, select

EVENTS_AT_ONCE = 50_000
"""Events per chunk for training: about 25 MB."""

MADE_AT_ONCE = 10_000
"""Published assessments per chunk: about 5 MB."""

Order = Literal["value_at_risk", "customer_id"]


@dataclass(frozen=True, slots=True)
class CustomerFilter:
    """Filter and order of a list of customers; None does not filter."""

    band: int | None = None
    owner_ids: Sequence[str] | None = None
    order_by: Order = "value_at_risk"


@dataclass(frozen=True, slots=True)
class After:
    """Start of the next page: after this customer with this value at risk."""

    value_at_risk: float
    customer_id: str


class Place(NamedTuple):
    """Place of a message in the history of a customer, who may have several ids."""

    assessed_at: datetime
    customer_id: str
    revision: int


_LISTED = """
SELECT a.customer_id, p.owner_id, a.published_band AS band, a.published_probability AS probability,
       a.published_value_at_risk AS value_at_risk, a.published_at AS assessed_at,
       a.published_signs AS signs
  FROM scoring.customer_state a {join} scoring.profile p
    ON p.customer_id = a.customer_id AND ($2::text[] IS NULL OR p.owner_id = ANY($2))
 WHERE a.partition >= 0
"""

_BY_VALUE = f"""
SELECT l.* FROM unnest($1::smallint[]) AS b(wanted), LATERAL (
{_LISTED} AND a.published_band = b.wanted
           AND (a.published_value_at_risk, a.customer_id) < ($3::float8, $4::text)
         ORDER BY a.published_value_at_risk DESC, a.customer_id DESC LIMIT $5) l
 ORDER BY l.value_at_risk DESC, l.customer_id DESC LIMIT $5
"""  # noqa: S608 (of constants)

_BY_ID = f"""
{_LISTED} AND a.published_band = ANY($1::smallint[]) AND a.customer_id > $4::text
            AND $3::float8 IS NOT NULL
          ORDER BY a.customer_id LIMIT $5
"""


# Not of an id that is part of another customer, and not of a customer who does not want to be
# assessed: the last message is the deletion.
_NEWEST = """
SELECT c.customer_id, h.message FROM unnest($1::text[]) AS c(customer_id), LATERAL (
    SELECT message FROM scoring.assessment_history h WHERE h.customer_id = c.customer_id
     ORDER BY revision DESC LIMIT 1) h
 WHERE NOT EXISTS (SELECT FROM scoring.member m
                    WHERE m.customer_id = c.customer_id AND m.primary_id <> m.customer_id)
   AND NOT EXISTS (SELECT FROM scoring.not_profiled n WHERE n.customer_id = c.customer_id)
"""

# With the customer that an event belongs to by now, where its payload names another one: an id that
# became part of a customer, or no longer is. What a contact did stays with the account of then.
_EVENTS = """
SELECT e.payload, CASE
         WHEN m.account IS NOT NULL AND e.customer_id <> e.original_customer_id THEN NULL
         ELSE nullif(coalesce(m.primary_id, e.original_customer_id), e.customer_id)
       END AS belongs_to
  FROM scoring.event e LEFT JOIN scoring.member m ON m.customer_id = e.original_customer_id
 WHERE e.customer_id NOT IN (SELECT customer_id FROM scoring.not_profiled)
   AND e.original_customer_id NOT IN (SELECT customer_id FROM scoring.not_profiled)
"""

_MADE = """
SELECT customer_id, revision, probability, model_version, feature_set, horizon_days, features,
       horizons, message
  FROM scoring.assessment_history WHERE ($1::text IS NULL OR customer_id = $1)
   AND customer_id NOT IN (SELECT customer_id FROM scoring.not_profiled)
 ORDER BY recorded_at DESC, customer_id, revision DESC LIMIT $2
"""


_NOT_PROFILED = """
SELECT count(DISTINCT n.customer_id) FROM scoring.not_profiled n
  LEFT JOIN scoring.profile p USING (customer_id)
 WHERE $1::text[] IS NULL OR p.owner_id = ANY($1)
"""


class HistoryReader(Statements):
    """Read-only statements on scoring's tables."""

    async def customer(self, customer_id: str) -> dict[str, Any] | None:
        """Reads a customer's state, current assessment and profile; None if unknown."""
        s, h = customer_state, assessment_history
        messages = sa.select(h.c.message).where(h.c.customer_id == customer_id)
        newest = messages.order_by(h.c.revision.desc()).limit(1).subquery()
        query = (
            sa.select(
                *(column for column in s.c if column.name not in {"feature_set", "partition"}),
                s.c.feature_set.label("state_feature_set"),
                s.c.assessed_feature_set.label("feature_set"),
                profile_table.c.profile,
                newest.c.message,
            )
            .outerjoin(profile_table, profile_table.c.customer_id == s.c.customer_id)
            .outerjoin(newest, sa.true())
            .where(s.c.customer_id == customer_id)
        )
        rows = await select(self._engine, query)
        return rows[0] if rows else None

    async def owner(self, customer_id: str) -> str | None:
        """Reads the owner of a customer, as the newest profile names it."""
        query = sa.select(profile_table.c.owner_id).where(
            profile_table.c.customer_id == customer_id
        )
        rows = await select(self._engine, query)
        return rows[0]["owner_id"] if rows else None

    async def refused_since(self, customer_id: str) -> datetime | None:
        """Reads since when a customer does not want to be assessed; None: they may be."""
        found: datetime | None = await fetch_value(
            self._engine,
            "SELECT min(since) FROM scoring.not_profiled WHERE customer_id = $1",
            customer_id,
        )
        return found

    async def not_profiled(self, owner_ids: Sequence[str] | None) -> int:
        """Counts the ids of customers who do not want to be assessed; of these owners only."""
        return int(await fetch_value(self._engine, _NOT_PROFILED, owner_ids))

    async def customers(
        self, chosen: CustomerFilter, after: After | None, most: int
    ) -> list[dict[str, Any]]:
        """Reads at most `most` customers after `after`, as last published to the risk topic.

        Ordered by value at risk, greatest first, from the top of each band's index; or by customer
        id.
        """
        owned = chosen.owner_ids is not None
        bands = list(range(len(BANDS))) if chosen.band is None else [chosen.band]
        statement = _BY_VALUE if chosen.order_by == "value_at_risk" else _BY_ID
        start = After(math.inf, "") if after is None else after
        rows = await fetch(
            self._engine,
            # The join starts from the owners' customers where owners are given.
            statement.format(join="JOIN" if owned else "LEFT JOIN"),
            bands,
            chosen.owner_ids,
            start.value_at_risk,
            start.customer_id,
            most,
        )
        return [dict(row) for row in rows]

    async def published(
        self, ids: Sequence[str], before: Place | None, most: int
    ) -> list[tuple[Place, bytes]]:
        """Reads at most `most` risk messages about a customer's ids, those before `before`.

        Newest first."""
        h = assessment_history.c
        place = sa.tuple_(h.assessed_at, h.customer_id, h.revision)
        query = sa.select(h.assessed_at, h.customer_id, h.revision, h.message)
        query = query.where(h.customer_id.in_(ids))
        if before is not None:
            query = query.where(place < sa.tuple_(*before))
        newest = (h.assessed_at.desc(), h.customer_id.desc(), h.revision.desc())
        rows = await select(self._engine, query.order_by(*newest).limit(most))
        return [
            (Place(row["assessed_at"], row["customer_id"], row["revision"]), row["message"])
            for row in rows
        ]

    async def newer(self, topic: str, sent: Sequence[Message]) -> list[Message]:
        """Returns each customer's newest message, where the one sent to `topic` is older."""
        last = {m.key.decode(): m for m in sent if m.topic == topic and m.key is not None}
        rows = await fetch(self._engine, _NEWEST, list(last))
        return [
            replace(last[row["customer_id"]], value=row["message"])
            for row in rows
            if row["message"] not in {None, last[row["customer_id"]].value}
        ]

    async def made(
        self, customer_id: str | None, most: int
    ) -> AsyncIterator[list[PublishedAssessment]]:
        """Reads at most `most` published assessments with features, newest first, in chunks."""
        chunks = fetch_in_chunks(self._engine, MADE_AT_ONCE, _MADE, customer_id, most)
        async for rows in chunks:
            yield [PublishedAssessment(**row) for row in rows]

    async def events(self) -> AsyncIterator[list[bytes]]:
        """Reads every stored event's payload, in chunks, in no particular order.

        Those of customers who do not want to be assessed are left out.

        Its subject is the customer that the event belongs to by now."""
        async for rows in fetch_in_chunks(self._engine, EVENTS_AT_ONCE, _EVENTS):
            yield [_of_customer(row["payload"], row["belongs_to"]) for row in rows]


def _of_customer(payload: bytes, belongs_to: str | None) -> bytes:
    if belongs_to is None:
        return payload
    activity = DECODER.decode(payload)
    activity.originalsubject = activity.originalsubject or activity.subject
    activity.subject = belongs_to
    return ENCODER.encode(activity)
