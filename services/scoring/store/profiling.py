"""SQL of customers who do not want to be assessed: their statements, and what is withdrawn then."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple

from shared.postgres.engine import UnitOfWork

_NOTE = """
INSERT INTO scoring.profiling AS p (customer_id, refused_at, allowed_at, stated_by)
SELECT c, max(t) FILTER (WHERE r), max(t) FILTER (WHERE NOT r), (array_agg(s ORDER BY t DESC))[1]
  FROM unnest($1::text[], $2::timestamptz[], $3::bool[], $4::text[]) AS u(c, t, r, s)
 GROUP BY c ORDER BY c
ON CONFLICT (customer_id) DO UPDATE
   SET refused_at = greatest(p.refused_at, excluded.refused_at),
       allowed_at = greatest(p.allowed_at, excluded.allowed_at),
       stated_by = CASE WHEN greatest(excluded.refused_at, excluded.allowed_at)
                           > greatest(p.refused_at, p.allowed_at)
                        THEN excluded.stated_by ELSE p.stated_by END
"""

# The number of the last change and the revision stay: readers take lower ones for repetitions.
_WITHDRAW = (
    """
    DELETE FROM scoring.segment_member m USING scoring.standing t
     WHERE t.customer_id = ANY($1::text[]) AND m.customer_id = t.customer_id
       AND m.segment_id = ANY(t.segments)
    """,
    """
    UPDATE scoring.standing SET grade = NULL, tier = NULL, behaviour = NULL, lifecycle = NULL,
           segments = '{}', needs = '{}', quality = '{}', rfm = NULL, rfm_cell = NULL,
           score = NULL, worth = NULL, lifetime_value = NULL, lifetime_value_days = NULL,
           expected_purchases = NULL, alive_probability = NULL, value_at_risk = NULL,
           net_spent = NULL, profit = NULL, overridden = false
     WHERE customer_id = ANY($1::text[])
    """,
    """
    UPDATE scoring.customer_state SET assessed_at = NULL, probability = NULL, band = NULL,
           method = NULL, model_version = NULL, assessed_feature_set = NULL, horizon_days = NULL,
           horizons = NULL, look_at = NULL, published_at = NULL, published_probability = NULL,
           published_band = NULL, published_signs = NULL, published_value_at_risk = NULL
     WHERE customer_id = ANY($1::text[])
    """,
    "DELETE FROM scoring.roll_call WHERE customer_id = ANY($1::text[])",
    "DELETE FROM scoring.shadow_score WHERE customer_id = ANY($1::text[])",
)


class Wish(NamedTuple):
    """Statement of an event about being assessed."""

    customer_id: str
    """The id that it came with."""
    at: datetime
    refuses: bool
    source: str


async def refused(work: UnitOfWork, customers: Collection[str]) -> set[str]:
    """Return which of these customers do not want to be assessed, by any of their ids.

    Without any refusal this is one tiny query.
    """
    if not customers or not await work.driver.fetchval(
        "SELECT EXISTS (SELECT 1 FROM scoring.profiling)"
    ):
        return set()
    rows = await work.driver.fetch(
        "SELECT customer_id FROM scoring.not_profiled WHERE customer_id = ANY($1::text[])",
        list(customers),
    )
    return {row["customer_id"] for row in rows}


async def note(work: UnitOfWork, wishes: Sequence[Wish]) -> None:
    """Store the statements; the newest counts, in whatever order it comes."""
    await work.driver.execute(_NOTE, *map(list, zip(*wishes, strict=True)))


async def still_assessed(work: UnitOfWork, customers: Collection[str]) -> list[str]:
    """Return which of these customers have a stored assessment or classification."""
    rows = await work.driver.fetch(
        "SELECT customer_id FROM scoring.customer_state s WHERE customer_id = ANY($1::text[]) "
        "AND (probability IS NOT NULL OR published_at IS NOT NULL OR EXISTS (SELECT FROM "
        "scoring.standing t WHERE t.customer_id = s.customer_id AND t.lifecycle IS NOT NULL)) "
        "ORDER BY 1",
        list(customers),
    )
    return [row["customer_id"] for row in rows]


async def withdraw(work: UnitOfWork, customers: Collection[str]) -> None:
    """Delete what was found about these customers; what they did stays."""
    for statement in _WITHDRAW:
        await work.driver.execute(statement, list(customers))
