"""Statements of model monitoring: weekly samples (roll calls), outcomes, measures, drift."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from services.scoring.core.monitoring.drift import Drift
from services.scoring.core.monitoring.outcomes import GroupQuality
from services.scoring.core.monitoring.treatment_weights import TreatmentWindow
from services.scoring.store.tables import drift, realised, roll_call, shadow_score
from shared.kernel.errors import Transient
from shared.postgres.engine import unit_of_work
from shared.postgres.statements import Statements, fetch, fetch_value, select

_SAMPLE = """
SELECT customer_id, state FROM scoring.customer_state WHERE feature_set = $1 AND partition >= 0
   AND customer_id NOT IN (SELECT customer_id FROM scoring.not_profiled)
 ORDER BY hashtextextended(customer_id, 0), customer_id LIMIT $2
"""
# Ordered by hash: a random sample that stays the same from week to week, except for new customers.

_STATES = """
SELECT c.n, s.state, s.feature_set FROM unnest($1::text[]) WITH ORDINALITY AS c(customer_id, n)
  JOIN scoring.customer_state s USING (customer_id)
 WHERE s.partition >= 0 ORDER BY c.n
"""

_WINDOWS = """
SELECT coalesce(m.primary_id, t.customer_id), kind = 'held_out', at, until
  FROM scoring.treatment t LEFT JOIN scoring.member m USING (customer_id)
 WHERE kind IN ('task_raised', 'held_out')
   AND (t.customer_id = ANY($1::text[]) OR m.primary_id = ANY($1::text[]))
"""

_SETTLE = """
UPDATE scoring.roll_call r SET silent = o.silent
  FROM unnest($2::text[], $3::bool[]) AS o(customer_id, silent)
 WHERE r.called_on = $1 AND r.customer_id = o.customer_id
"""


class CalledCustomer(NamedTuple):
    """A customer of a roll call, with the scores of champion, challenger and rule."""

    customer_id: str
    called_on: date
    called_at: datetime
    horizon_days: int
    champion: str
    """Version of the model; so is `challenger`, None without one."""
    probability: float
    challenger: str | None
    challenger_probability: float | None
    rule_probability: float
    purchase_days: float
    recency_days: float
    tenure_days: float
    bought_that_day: bool
    silent: bool | None = None
    """The outcome; None before the horizon is over."""


@dataclass(frozen=True, slots=True)
class MeasuredScores:
    """How good the scores of a roll call were that one version made in a role."""

    called_on: date
    version: str
    role: str
    """`champion`, `challenger` or `rule`."""
    quality: GroupQuality


@dataclass(frozen=True, slots=True)
class MeasuredDrift:
    """Drift of a roll call against the rows that a version learned from."""

    called_on: date
    version: str
    drift: Drift


class MonitoringTables(Statements):
    """Statements on `roll_call`, `realised` and `drift`."""

    async def last_call(self) -> date | None:
        """Reads the day of the newest roll call."""
        found: date | None = await fetch_value(
            self._engine, "SELECT max(called_on) FROM scoring.roll_call"
        )
        return found

    async def sample(self, feature_set: int, limit: int) -> list[tuple[str, bytes]]:
        """Reads (customer, state) of at most `limit` customers, always the same ones."""
        rows = await fetch(self._engine, _SAMPLE, feature_set, limit)
        return [(row[0], row[1]) for row in rows]

    async def add_call(
        self, calls: Sequence[CalledCustomer], drifts: Sequence[MeasuredDrift]
    ) -> None:
        """Stores a roll call and its drift; rows that another replica has stored stay."""
        moved = [
            {"called_on": d.called_on, "version": d.version, **asdict(d.drift)} for d in drifts
        ]
        async with unit_of_work(self._engine) as work:
            for table, rows in ((roll_call, [c._asdict() for c in calls]), (drift, moved)):
                if rows:
                    await work.connection.execute(insert(table).on_conflict_do_nothing(), rows)

    async def unsettled(self, before: date) -> list[tuple[date, int]]:
        """Reads (day, horizon) of roll calls without outcomes before a day, oldest first."""
        query = (
            sa.select(roll_call.c.called_on, roll_call.c.horizon_days)
            .where(roll_call.c.silent.is_(None), roll_call.c.called_on < before)
            .distinct()
            .order_by(roll_call.c.called_on)
        )
        rows = await select(self._engine, query)
        return [(row["called_on"], row["horizon_days"]) for row in rows]

    async def called(self, on: date) -> list[CalledCustomer]:
        """Reads the rows of a roll call, by customer."""
        query = sa.select(roll_call).where(roll_call.c.called_on == on)
        rows = await select(self._engine, query.order_by(roll_call.c.customer_id))
        return [CalledCustomer(**row) for row in rows]

    async def states(self, customers: Sequence[str], feature_set: int) -> dict[int, bytes]:
        """Reads states by the customer's index; customers without a stored state are missing.

        Raises Transient while states of another feature set are being rebuilt.
        """
        rows = await fetch(self._engine, _STATES, list(customers))
        if any(row[2] != feature_set for row in rows):
            raise Transient("states of another feature set are waiting to be rebuilt")
        return {row[0] - 1: row[1] for row in rows}

    async def windows(self, customers: Sequence[str]) -> list[TreatmentWindow]:
        """Reads the treatments of these customers."""
        return [
            TreatmentWindow(*row) for row in await fetch(self._engine, _WINDOWS, list(customers))
        ]

    async def settle(
        self,
        on: date,
        outcomes: dict[str, bool],
        measured: Sequence[MeasuredScores],
        *,
        gone: Sequence[str],
    ) -> None:
        """Stores a roll call's outcomes and measures; deletes the rows of customers in `gone`."""
        rows = [
            {"called_on": m.called_on, "version": m.version, "role": m.role, **asdict(m.quality)}
            for m in measured
        ]
        async with unit_of_work(self._engine) as work:
            await work.driver.execute(_SETTLE, on, list(outcomes), list(outcomes.values()))
            await work.driver.execute(
                "DELETE FROM scoring.roll_call WHERE called_on = $1 AND customer_id = ANY($2)",
                on,
                list(gone),
            )
            if rows:
                await work.connection.execute(insert(realised).on_conflict_do_nothing(), rows)

    async def realised(self, since: date) -> list[MeasuredScores]:
        """Reads the measures of settled roll calls, newest first."""
        query = sa.select(realised).where(realised.c.called_on >= since)
        query = query.order_by(
            realised.c.called_on.desc(), realised.c.segment, realised.c.role, realised.c.version
        )
        return [
            MeasuredScores(
                row["called_on"],
                row["version"],
                row["role"],
                GroupQuality(**{name: row[name] for name in GroupQuality.__slots__}),
            )
            for row in await select(self._engine, query)
        ]

    async def newest_drift(self) -> list[MeasuredDrift]:
        """Reads the drift of the newest roll call that has any, strongest first."""
        newest = sa.select(sa.func.max(drift.c.called_on)).scalar_subquery()
        query = sa.select(drift).where(drift.c.called_on == newest)
        return [
            MeasuredDrift(
                row["called_on"],
                row["version"],
                Drift(**{name: row[name] for name in Drift.__slots__}),
            )
            for row in await select(
                self._engine, query.order_by(drift.c.psi.desc(), drift.c.feature)
            )
        ]

    async def forget(self, before: date) -> None:
        """Deletes monitoring rows and shadow scores from before a day."""
        async with unit_of_work(self._engine) as work:
            for table in (roll_call, realised, drift):
                await work.connection.execute(sa.delete(table).where(table.c.called_on < before))
            await work.connection.execute(
                sa.delete(shadow_score).where(shadow_score.c.assessed_on < before)
            )
