"""Reads the subjects of the comparison, and stores the save rates that it measures.

Statements on `alerts.trial` and `alerts.save_rate`, within an open transaction.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from services.alerts.core.effect import Effect, MeasuredSubject
from services.alerts.core.uplift.subjects import COLUMNS, UpliftSubjects, aligned
from shared.postgres.engine import UnitOfWork

SUBJECTS_MAX = 200_000
"""Most subjects of one comparison, the newest: a share is then known to a quarter of a point."""


LEARNED_MAX = 50_000
"""Most trials that a fit learns from, the newest: it takes a few seconds of one core."""
_FIRST = """
    SELECT DISTINCT ON (customer_id) * FROM alerts.trial
     WHERE policy = $1 AND eligible ORDER BY customer_id, at
"""
"""Each customer's first warning under a policy that could have been held out."""
_LEARNED = "measured_at IS NOT NULL AND features IS NOT NULL AND propensity > 0 AND propensity < 1"
"""Trials that a fit learns from."""


@dataclass(frozen=True, slots=True)
class FirstWarnings:
    """Customers' first warnings under a policy within a period."""

    warned: int
    held_out: int
    """Measured ones of customers left alone."""
    returned: int
    """Those of `held_out` who bought again."""
    window_days: float
    """Longest time in which an outcome is measured."""
    earliest: datetime | None
    """Time of the first of these warnings."""


async def subjects(
    work: UnitOfWork, policy: str, begin: datetime | None, end: datetime | None
) -> list[MeasuredSubject]:
    """Return each customer's first warning under the policy that could have been held out.

    Only warnings within the period that have been measured are returned.
    """
    rows = await work.driver.fetch(
        f"""
        SELECT * FROM ({_FIRST}) first
         WHERE measured_at IS NOT NULL AND ($2::timestamptz IS NULL OR at >= $2)
           AND ($3::timestamptz IS NULL OR at < $3)
         ORDER BY at DESC LIMIT $4
        """,  # noqa: S608 (our own statement)
        policy,
        begin,
        end,
        SUBJECTS_MAX,
    )
    return [
        MeasuredSubject(
            treated=row["arm"] == "treated",
            returned=row["returned_at"] is not None,
            revenue=row["revenue"],
            at=row["at"],
            playbook=row["playbook"],
            cause=row["cause"],
            grade=row["grade"],
            owner=row["owner_id"],
            segments=row["segments"],
        )
        for row in rows
    ]


async def uplift_subjects(work: UnitOfWork, policy: str) -> UpliftSubjects:
    """Return the measured subjects with a feature row, the newest, in the order of time."""
    rows = await work.driver.fetch(
        f"""
        SELECT playbook, arm = 'treated' AS treated, propensity, returned_at IS NOT NULL AS
               returned, at, feature_version, features FROM ({_FIRST}) first
         WHERE {_LEARNED} AND customer_id NOT IN (SELECT customer_id FROM alerts.not_profiled)
         ORDER BY at DESC, customer_id DESC LIMIT $2
        """,  # noqa: S608 (our own statement)
        policy,
        LEARNED_MAX,
    )
    rows.reverse()
    return UpliftSubjects(
        features=np.array(
            [aligned(row["feature_version"], row["features"]) for row in rows], np.float64
        ).reshape(-1, len(COLUMNS)),
        playbook=np.array([row["playbook"] for row in rows], np.object_),
        treated=np.array([row["treated"] for row in rows], np.bool_),
        propensity=np.array([row["propensity"] for row in rows], np.float64),
        returned=np.array([row["returned"] for row in rows], np.bool_),
        at=np.array([row["at"].timestamp() for row in rows], np.float64),
    )


async def measured_after(work: UnitOfWork, policy: str, after: datetime | None) -> int:
    """Return the number of measured trials with a feature row of warnings after a time."""
    found = await work.driver.fetchval(
        f"SELECT count(*) FROM alerts.trial WHERE policy = $1 AND eligible AND {_LEARNED} "  # noqa: S608
        "AND ($2::timestamptz IS NULL OR at > $2)",
        policy,
        after,
    )
    return int(found)


async def first_warnings(
    work: UnitOfWork, policy: str, since: datetime, spare_grades: Sequence[str]
) -> FirstWarnings:
    """Return the counts of customers' first warnings since a time; spared grades are left out.

    Unlike `subjects` it counts warnings from times without a holdout, too.
    """
    row = await work.driver.fetchrow(
        """
        SELECT count(*) AS warned,
               count(*) FILTER (WHERE arm = 'held_out' AND measured_at IS NOT NULL) AS held_out,
               count(returned_at) FILTER (WHERE arm = 'held_out') AS returned,
               coalesce(extract(epoch FROM max(until - at)) / 86400, 0) AS window_days,
               min(at) AS earliest
          FROM (SELECT DISTINCT ON (customer_id) * FROM alerts.trial
                 WHERE policy = $1 AND (grade IS NULL OR NOT grade = ANY($3::text[]))
                 ORDER BY customer_id, at) first
         WHERE at >= $2
        """,
        policy,
        since,
        list(spare_grades),
    )
    if row is None:  # an aggregate always has a row
        return FirstWarnings(0, 0, 0, 0.0, None)
    return FirstWarnings(
        row["warned"],
        row["held_out"],
        row["returned"],
        float(row["window_days"]),
        row["earliest"],
    )


async def unmeasured(work: UnitOfWork, policy: str) -> int:
    """Return the number of warnings that are not measured yet."""
    found = await work.driver.fetchval(
        "SELECT count(*) FROM alerts.trial WHERE policy = $1 AND measured_at IS NULL", policy
    )
    return int(found)


async def put_save_rates(
    work: UnitOfWork, rates: Mapping[str, tuple[float, Effect]], at: datetime
) -> None:
    """Store the save rate of each playbook; it replaces an earlier one."""
    for playbook, (rate, effect) in sorted(rates.items()):
        await work.driver.execute(
            "INSERT INTO alerts.save_rate (playbook, rate, treated, held_out, measured_at) "
            "VALUES ($1, $2, $3, $4, $5) ON CONFLICT (playbook) DO UPDATE SET "
            "rate = excluded.rate, treated = excluded.treated, "
            "held_out = excluded.held_out, measured_at = excluded.measured_at",
            playbook,
            rate,
            effect.treated.n,
            effect.held_out.n,
            at,
        )
