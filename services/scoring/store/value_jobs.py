"""Jobs of value in bounded steps: measure the base, and make all customers due again (relook).

Each step is a short transaction over a bounded number of customers, in key order; no statement
reads a whole table of customers, and one replica at a time runs each job.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import orjson

from services.scoring.core.imports import under_way
from services.scoring.core.risk.timers import AFTER_BACKFILL, PULLED
from shared.postgres.engine import unit_of_work
from shared.postgres.statements import Statements, execute, fetch, fetch_value

REASSESS_DELAY: Final = timedelta(seconds=5)
"""Delay from a decision to the first assessment by it: every replica has polled it by then."""
LEASE: Final = timedelta(minutes=10)
"""Lease of one measurement: a million customers are read in about two minutes."""

_REASSESS = "SELECT requested, cursor, requested_at FROM scoring.value_job WHERE name = 'relook' AND done < requested FOR UPDATE SKIP LOCKED"  # noqa: E501

_WAITING = f"""
SELECT count(*) FROM (
    SELECT 1 FROM scoring.partition p,
           LATERAL (SELECT 1 FROM scoring.timer t WHERE t.partition = p.partition
                       AND t.due_at <= to_timestamp({PULLED}) LIMIT $1) t
     LIMIT $1) w
"""  # noqa: S608 (numbers of our own)

_PULL = f"""
WITH chosen AS (SELECT customer_id FROM scoring.timer WHERE customer_id > $1
                 ORDER BY customer_id LIMIT $2 FOR UPDATE),
     pulled AS (UPDATE scoring.timer t SET due_at = to_timestamp({PULLED})
                  FROM chosen c WHERE t.customer_id = c.customer_id
                   AND t.due_at > to_timestamp({AFTER_BACKFILL}))
SELECT count(*) AS n, max(customer_id) AS last FROM chosen
"""  # noqa: S608 (numbers of our own)

_STATES = """
SELECT s.customer_id, s.feature_set, s.state, p.profile
  FROM (SELECT customer_id, feature_set, state FROM scoring.customer_state
         WHERE customer_id > $1 AND partition >= 0
           AND customer_id NOT IN (SELECT customer_id FROM scoring.not_profiled)
         ORDER BY customer_id LIMIT $2) s
  LEFT JOIN scoring.profile p ON p.customer_id = s.customer_id
 ORDER BY s.customer_id
"""


@dataclass(frozen=True, slots=True)
class StatePage:
    """Page of stored states in key order."""

    customers: list[str]
    feature_sets: list[int]
    states: list[bytes]
    profiles: list[bytes | None]


class ValueJobs(Statements):
    """Statements on `scoring.value_job` and on the tables that its jobs process."""

    async def reassess(self, customers_max: int, wall: datetime) -> int:
        """Makes the next customers due at once; returns how many (0 while the sweep is busy)."""
        async with unit_of_work(self._engine) as work:
            job = await work.driver.fetchrow(_REASSESS)
            if job is None or wall - job["requested_at"] < REASSESS_DELAY:
                return 0
            if await work.driver.fetchval(_WAITING, customers_max) >= customers_max:
                return 0
            page = await work.driver.fetchrow(_PULL, job["cursor"], customers_max)
            assert page is not None  # noqa: S101 (an aggregate has one row)
            ended = page["n"] < customers_max
            await work.driver.execute(
                "UPDATE scoring.value_job SET cursor = $1, done = $2 WHERE name = 'relook'",
                "" if ended else page["last"],
                job["requested"] if ended else job["requested"] - 1,
            )
            return int(page["n"])

    async def lease_measuring(self, wall: datetime, older_than: datetime) -> bool:
        """Takes the lease to measure if no replica holds it and the last base is old.

        Returns whether this replica is to measure now."""
        taken = await fetch_value(
            self._engine,
            """
            UPDATE scoring.value_job SET leased_until = $2 WHERE name = 'measure'
               AND (leased_until IS NULL OR leased_until < $1)
               AND NOT EXISTS (SELECT 1 FROM scoring.value_base WHERE measured_at > $3)
            RETURNING 1
            """,
            wall,
            wall + LEASE,
            older_than,
        )
        return taken is not None

    async def release_measuring(self) -> None:
        """Releases the lease, so that any replica may measure."""
        await execute(
            self._engine, "UPDATE scoring.value_job SET leased_until = NULL WHERE name = 'measure'"
        )

    async def business_time(self) -> float | None:
        """Reads business time, Unix seconds UTC, of the most advanced partition.

        None before the first, and during an import."""
        rows = await fetch(self._engine, "SELECT progress FROM scoring.partition")
        found = [orjson.loads(row["progress"]) for row in rows]
        if any(under_way(progress) is not None for progress in found):
            return None
        return max((float(p["now"]) for p in found if "now" in p), default=None)

    async def states(self, after: str, limit: int) -> StatePage:
        """Reads the next stored states after a customer id."""
        rows = await fetch(self._engine, _STATES, after, limit)
        columns = [list(column) for column in zip(*rows, strict=True)] if rows else [[], [], [], []]
        return StatePage(*columns)

    async def save_base(self, base: str, wall: datetime) -> int:
        """Stores a new version of the base; the first requests an assessment of all customers."""
        async with unit_of_work(self._engine) as work:
            version = await work.driver.fetchval(
                """
                INSERT INTO scoring.value_base (version, base, measured_at)
                SELECT coalesce(max(version), 0) + 1, $1, $2 FROM scoring.value_base
                RETURNING version
                """,
                base,
                wall,
            )
            if version == 1:
                await work.driver.execute(
                    "UPDATE scoring.value_job SET requested = requested + 1, requested_at = $1, "
                    "cursor = '' WHERE name = 'relook'",
                    wall,
                )
        return int(version)
