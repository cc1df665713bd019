"""Stores assessments as received, so that a policy can be tried on history.

Statements within an open transaction.
"""

from collections.abc import Sequence
from datetime import datetime
from operator import itemgetter
from typing import Final

import msgspec

from services.alerts.ports import AssessmentSeen
from services.alerts.store.bulk_insert import copied
from shared.contracts.events import Profile
from shared.contracts.risk import DECODER, RiskAssessed
from shared.kernel.grouping import grouped
from shared.postgres.engine import UnitOfWork

_COLUMNS: Final = ("customer_id", "revision", "assessed_at", "message")


async def add(work: UnitOfWork, seen: Sequence[AssessmentSeen]) -> None:
    """Store assessments; one that is stored already stays unchanged."""
    first = {(a.message.customer_id, a.message.revision): a for a in reversed(seen)}
    rows = [
        (*key, a.message.assessed_at, a.value)
        for key, a in sorted(first.items(), key=itemgetter(0))
    ]
    if rows and not await copied(work, "assessment", _COLUMNS, rows):
        await work.driver.execute(
            f"INSERT INTO alerts.assessment ({', '.join(_COLUMNS)}) "  # noqa: S608
            "SELECT * FROM unnest($1::text[], $2::bigint[], $3::timestamptz[], $4::bytea[]) "
            "ON CONFLICT DO NOTHING",
            *zip(*rows, strict=True),
        )


async def between(
    work: UnitOfWork, begin: datetime, end: datetime, after: str, customers: int
) -> dict[str, list[RiskAssessed]]:
    """Return the assessments of the next `customers` customers after an id, each in order."""
    ids = await work.driver.fetch(
        "SELECT DISTINCT customer_id FROM alerts.assessment WHERE customer_id > $1 "
        "AND customer_id NOT IN (SELECT customer_id FROM alerts.not_profiled) "
        "AND assessed_at > $2 AND assessed_at <= $3 ORDER BY customer_id LIMIT $4",
        after,
        begin,
        end,
        customers,
    )
    rows = await work.driver.fetch(
        "SELECT customer_id, message FROM alerts.assessment "
        "WHERE customer_id = ANY($1::text[]) AND assessed_at > $2 AND assessed_at <= $3 "
        "ORDER BY customer_id, revision",
        [row["customer_id"] for row in ids],
        begin,
        end,
    )
    return grouped((row["customer_id"], DECODER.decode(row["message"])) for row in rows)


async def purchases(
    work: UnitOfWork, customers: Sequence[str], begin: datetime
) -> dict[str, list[datetime]]:
    """Return the times of these customers' purchases after `begin`, unordered."""
    rows = await work.driver.fetch(
        "SELECT customer_id, at FROM alerts.purchase "
        "WHERE customer_id = ANY($1::text[]) AND at > $2 AND NOT refund",
        list(customers),
        begin,
    )
    return grouped((row["customer_id"], row["at"]) for row in rows)


async def profiles(work: UnitOfWork, customers: Sequence[str]) -> dict[str, Profile]:
    """Return the profiles of those customers that have one."""
    rows = await work.driver.fetch(
        "SELECT customer_id, profile FROM alerts.customer "
        "WHERE customer_id = ANY($1::text[]) AND profile IS NOT NULL",
        list(customers),
    )
    return {row["customer_id"]: msgspec.convert(row["profile"], Profile) for row in rows}
