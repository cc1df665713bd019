"""Stores treatments of customers as published by alerts."""

from collections.abc import Sequence
from datetime import datetime

from services.scoring.core.monitoring.treatment_weights import TreatmentWindow
from shared.contracts.treatment import TreatmentRecorded
from shared.postgres.engine import UnitOfWork
from shared.postgres.statements import Statements, fetch

_ADD = """
INSERT INTO scoring.treatment (customer_id, kind, at, task_id, cause, detail, policy, playbook,
       revision, probability, until, leaving_cause)
SELECT DISTINCT ON (c, k, t, i) * FROM unnest($1::text[], $2::text[], $3::timestamptz[],
       $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::bigint[], $10::float8[],
       $11::timestamptz[], $12::text[]) AS u(c, k, t, i, ca, d, po, pb, r, p, un, l)
ON CONFLICT (customer_id, kind, at, task_id) DO NOTHING
"""

_WINDOWS = """
SELECT coalesce(m.primary_id, t.customer_id) AS customer_id, kind = 'held_out' AS held_out, at,
       until
  FROM scoring.treatment t LEFT JOIN scoring.member m USING (customer_id)
 WHERE kind IN ('task_raised', 'held_out') AND at < $1 ORDER BY 1, at
"""

_FIRST = """
SELECT coalesce(m.primary_id, t.customer_id) AS customer_id, min(at) AS at
  FROM scoring.treatment t LEFT JOIN scoring.member m USING (customer_id)
 WHERE kind = 'task_raised' AND at <= $1 AND ($2::text IS NULL OR playbook = $2)
   AND ($3::text IS NULL OR policy = $3)
 GROUP BY 1
"""


class Treatments(Statements):
    """Statements on `scoring.treatment`."""

    async def add(self, work: UnitOfWork, facts: Sequence[TreatmentRecorded]) -> None:
        """Stores treatments, each once."""
        rows = [
            (
                f.customer_id, f.kind, f.at, f.task_id or "", f.cause, f.detail, f.policy,
                f.playbook, f.revision, f.probability, f.until, f.leaving_cause,
            )
            for f in facts
        ]  # fmt: skip
        if rows:
            await work.driver.execute(_ADD, *(list(column) for column in zip(*rows, strict=True)))

    async def windows(self, before: datetime) -> list[TreatmentWindow]:
        """Reads the treatments begun before a time, ordered by customer and time."""
        return [TreatmentWindow(*row) for row in await fetch(self._engine, _WINDOWS, before)]

    async def first_tasks(
        self, until: datetime, *, playbook: str | None = None, policy: str | None = None
    ) -> dict[str, datetime]:
        """Reads the time of each customer's first task up to `until`.

        Only tasks with this playbook or by this policy (`id@version`) where given."""
        rows = await fetch(self._engine, _FIRST, until, playbook, policy)
        return {row["customer_id"]: row["at"] for row in rows}
