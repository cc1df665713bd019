"""Reads the subjects of the comparison, and stores the save rates that it measures."""

from collections.abc import Mapping
from datetime import datetime

from services.alerts.core.effect import Effect, MeasuredSubject
from shared.postgres.engine import UnitOfWork

SUBJECTS_MAX = 200_000
"""Most subjects of one comparison, the newest: a share is then known to a quarter of a point."""


class Effects:
    """Statements on `alerts.trial` and `alerts.save_rate`, within an open transaction."""

    async def subjects(
        self, work: UnitOfWork, policy: str, begin: datetime | None, end: datetime | None
    ) -> list[MeasuredSubject]:
        """Return each customer's first warning under the policy that could have been held out.

        Only warnings within the period that have been measured are returned.
        """
        rows = await work.driver.fetch(
            """
            SELECT * FROM (
              SELECT DISTINCT ON (customer_id) * FROM alerts.trial
               WHERE policy = $1 AND eligible ORDER BY customer_id, at) first
             WHERE measured_at IS NOT NULL AND ($2::timestamptz IS NULL OR at >= $2)
               AND ($3::timestamptz IS NULL OR at < $3)
             ORDER BY at DESC LIMIT $4
            """,
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

    async def unmeasured(self, work: UnitOfWork, policy: str) -> int:
        """Return the number of warnings that are not measured yet."""
        found = await work.driver.fetchval(
            "SELECT count(*) FROM alerts.trial WHERE policy = $1 AND measured_at IS NULL", policy
        )
        return int(found)

    async def put_save_rates(
        self, work: UnitOfWork, rates: Mapping[str, tuple[float, Effect]], at: datetime
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
