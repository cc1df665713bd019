"""Stores challenger's and champion's scores: one write per batch, one summary to read."""

from collections.abc import Sequence
from dataclasses import dataclass

from services.scoring.handlers.shadow_scoring import ShadowScore
from shared.postgres.statements import Statements, execute, fetch

_ADD = """
INSERT INTO scoring.shadow_score AS s (customer_id, version, assessed_on, assessed_at, probability,
       champion, champion_probability)
SELECT DISTINCT ON (c, v, (t AT TIME ZONE 'UTC')::date)
       c, v, (t AT TIME ZONE 'UTC')::date, t, p, w, q
  FROM unnest($1::text[], $2::text[], $3::timestamptz[], $4::float8[], $5::text[], $6::float8[])
       AS u(v, c, t, p, w, q)
 ORDER BY c, v, (t AT TIME ZONE 'UTC')::date, t
ON CONFLICT (customer_id, version, assessed_on) DO NOTHING
"""

_SUMMARY = """
SELECT champion, count(*) AS scores, count(DISTINCT customer_id) AS customers,
       avg(probability) AS mean, avg(champion_probability) AS champion_mean,
       avg(abs(probability - champion_probability)) AS mean_difference,
       avg((abs(probability - champion_probability) >= $2)::int) AS moved_share
  FROM scoring.shadow_score WHERE version = $1
 GROUP BY champion ORDER BY min(assessed_at)
"""


@dataclass(frozen=True, slots=True)
class ScoreComparison:
    """How the challenger's scores differ from those of one champion."""

    champion: str
    scores: int
    customers: int
    mean: float
    champion_mean: float
    mean_difference: float
    """Mean of the absolute differences."""
    moved_share: float
    """Share of scores that differ by the least difference asked for, or more."""


class Shadows(Statements):
    """Statements on `scoring.shadow_score`."""

    async def add(self, rows: Sequence[ShadowScore]) -> None:
        """Stores the first scores of each customer and UTC day; stored ones stay."""
        columns = [list(column) for column in zip(*rows, strict=True)]
        if columns:
            await execute(self._engine, _ADD, *columns)

    async def summary(self, version: str, moved_min: float) -> list[ScoreComparison]:
        """Summarizes how the challenger's scores differ from those of each champion.

        `moved_share` is the share of scores that differ by `moved_min` or more.
        """
        rows = await fetch(self._engine, _SUMMARY, version, moved_min)
        return [ScoreComparison(**row) for row in rows]
