"""Stores trials, and the purchases that they are measured by, within an open transaction."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import msgspec

from services.alerts.core.experiment_subject import ExperimentSubject
from services.alerts.core.realised import RaisedWarning
from services.alerts.ports import PurchaseSeen
from services.alerts.store.bulk_insert import copied
from shared.kernel.grouping import grouped
from shared.postgres.engine import UnitOfWork
from shared.postgres.statements import row_count

_COLUMNS = ", ".join(ExperimentSubject.__struct_fields__)
_PURCHASE: Final = ("customer_id", "source", "id", "at", "amount", "refund", "came_with")


async def add(work: UnitOfWork, trials: Sequence[ExperimentSubject]) -> None:
    """Insert new trials."""
    if trials:
        await work.driver.execute(
            f"INSERT INTO alerts.trial ({_COLUMNS}) SELECT {_COLUMNS} "  # noqa: S608
            "FROM json_populate_recordset(NULL::alerts.trial, $1::json)",
            msgspec.json.encode(trials).decode(),
        )


async def raised(
    work: UnitOfWork, customers: Sequence[str], begin: datetime
) -> dict[str, list[RaisedWarning]]:
    """Return the warnings about these customers after `begin`, of both arms, by customer."""
    rows = await work.driver.fetch(
        "SELECT customer_id, at, revision, cause FROM alerts.trial "
        "WHERE customer_id = ANY($1::text[]) AND at > $2",
        list(customers),
        begin,
    )
    return grouped(
        (row["customer_id"], RaisedWarning(row["at"], row["revision"], row["cause"]))
        for row in rows
    )


async def note_purchases(work: UnitOfWork, seen: Sequence[PurchaseSeen]) -> None:
    """Store purchases and refunds, each once even if it is delivered twice."""
    first = {(p.customer_id, p.source, p.event_id): p for p in reversed(seen)}
    rows = sorted((*key, p.at, p.amount, p.refund, p.came_with) for key, p in first.items())
    if rows and not await copied(work, "purchase", _PURCHASE, rows):
        await work.driver.execute(
            f"INSERT INTO alerts.purchase ({', '.join(_PURCHASE)}) "  # noqa: S608
            "SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[], "
            "$5::float8[], $6::bool[], $7::text[]) ON CONFLICT DO NOTHING",
            *zip(*rows, strict=True),
        )


async def measure(work: UnitOfWork, ended_by: datetime, at: datetime, most: int) -> int:
    """Measure at most `most` trials with a window that ended by `ended_by`; return how many.

    Both arms are measured alike: purchases after the warning until the end of the window.
    """
    done = await work.driver.execute(
        """
        WITH ended AS MATERIALIZED (
          SELECT customer_id, id, at, until FROM alerts.trial
           WHERE measured_at IS NULL AND until <= $1
           ORDER BY until LIMIT $3 FOR UPDATE SKIP LOCKED
        ), found AS (
          SELECT e.customer_id, e.id, b.first, b.purchases, b.revenue
            FROM ended e CROSS JOIN LATERAL (
              SELECT min(p.at) FILTER (WHERE NOT p.refund) AS first,
                     count(*) FILTER (WHERE NOT p.refund) AS purchases,
                     coalesce(sum(p.amount), 0) AS revenue
                FROM alerts.purchase p
               WHERE p.customer_id = e.customer_id AND p.at > e.at AND p.at <= e.until) b
        )
        UPDATE alerts.trial t
           SET returned_at = f.first, purchases = f.purchases, revenue = f.revenue,
               measured_at = $2
          FROM found f WHERE t.customer_id = f.customer_id AND t.id = f.id
        """,
        ended_by,
        at,
        most,
    )
    return row_count(done)


async def find(work: UnitOfWork, task_id: str, customer_id: str) -> ExperimentSubject | None:
    """Return the trial of a task; None when there is none."""
    row = await work.driver.fetchrow(
        f"SELECT {_COLUMNS} FROM alerts.trial WHERE customer_id = $1 AND id = $2",  # noqa: S608
        customer_id,
        task_id,
    )
    return None if row is None else msgspec.convert(dict(row), ExperimentSubject)
