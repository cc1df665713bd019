"""Deletes a customer's data: tables with an index by customer at once, stored events by a scan."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from services.scoring.store import identity_tables, value_tables
from services.scoring.store.tables import SCHEMA, erasure, event
from shared.postgres.engine import UnitOfWork, unit_of_work
from shared.postgres.erasures import Erasures
from shared.postgres.statements import Statements, row_count

ERASED_AT_ONCE_MAX: Final = 200
"""Customers of one scan, which reads all events, however many of them it deletes."""

SCANNED: Final = frozenset({event.name})
"""Tables without an index by customer."""

INDEXED: Final = tuple(
    table
    for table in sorted(value_tables.standing.metadata.tables.values(), key=lambda each: each.name)
    if "customer_id" in table.c and table.name not in SCANNED and table is not erasure
)
"""Every other table with rows of customers: a new table is erased without being listed here."""

_LINKS: Final = (
    f"DELETE FROM {identity_tables.identity_link.fullname} WHERE a = ANY($1) OR b = ANY($1)",  # noqa: S608
    f"DELETE FROM {identity_tables.identity_statement.fullname} WHERE ids && $1::text[]",  # noqa: S608
)

_SEGMENT_MEMBER: Final = (
    "DELETE FROM scoring.segment_member WHERE customer_id = $1 "
    "AND segment_id IN (SELECT DISTINCT id FROM scoring.segment_definition)"
)
"""Uses the primary key (segment, customer), which a condition on the customer alone cannot."""


class CustomerErasure(Statements):
    """Statements that delete a customer."""

    erasures: Final = Erasures(SCHEMA)

    async def delete(self, work: UnitOfWork, customer: str) -> dict[str, int]:
        """Delete the state and everything else that is indexed by customer; return row counts."""
        rows = {}
        for table in INDEXED:
            statement = f"DELETE FROM {table.fullname} WHERE customer_id = $1"  # noqa: S608
            if table.name == "segment_member":
                statement = _SEGMENT_MEMBER
            rows[table.name] = row_count(await work.driver.execute(statement, customer))
        await work.driver.execute("DELETE FROM scoring.suspect WHERE item = $1", customer)
        return rows

    async def ids(self, work: UnitOfWork, customer: str) -> list[str]:
        """Reads the other ids of the customer with this id (docs/identity.md).

        A contact has none: the account and its other contacts did not ask.
        """
        rows = await work.driver.fetch(
            "SELECT o.customer_id FROM scoring.member m JOIN scoring.member o USING (primary_id) "
            "WHERE m.customer_id = $1 AND m.account IS NULL AND o.customer_id <> $1 ORDER BY 1",
            customer,
        )
        return [row["customer_id"] for row in rows]

    async def delete_links(self, work: UnitOfWork, ids: Sequence[str]) -> int:
        """Delete what was stated about these ids; return the number of rows."""
        done = [await work.driver.execute(statement, list(ids)) for statement in _LINKS]
        return sum(map(row_count, done))

    async def delete_events(self, now: datetime) -> int:
        """Delete the stored events of customers with an unfinished erasure; return their number.

        Those of a contact go from the account, which keeps their sum in its state. Events recorded
        after the erasure began are of a person who came back, and stay.
        """
        async with unit_of_work(self._engine) as work:
            # A scan of the whole history; it waits for no lock that a batch holds.
            await work.driver.execute("SET LOCAL statement_timeout = 0")
            waiting = await self.erasures.unfinished(work, ERASED_AT_ONCE_MAX)
            if not waiting:
                return 0
            deleted = await _delete_events(work, waiting)
            for request in waiting:
                await self.erasures.add_rows(work, request, {event.name: deleted.get(request, 0)})
                await self.erasures.finish(work, request, now)
        return sum(deleted.values())


async def _delete_events(work: UnitOfWork, waiting: Mapping[str, str]) -> dict[str, int]:
    """Returns the number of deleted events by request."""
    rows = await work.driver.fetch(
        """
        WITH chosen AS (
          SELECT u.request, u.customer, e.begun_at
            FROM unnest($1::text[], $2::text[]) AS u(request, customer)
            JOIN scoring.erasure e ON e.request_id = u.request
        ), gone AS (
          DELETE FROM scoring.event s USING (
            SELECT customer, max(begun_at) AS begun_at FROM chosen GROUP BY customer
          ) c WHERE c.customer IN (s.customer_id, s.original_customer_id)
              AND s.recorded_at <= c.begun_at
          RETURNING c.customer, s.customer_id AS counted_for, s.payload
        ), keys AS (
          DELETE FROM scoring.event_key k
           USING (SELECT customer, counted_for, convert_from(payload, 'UTF8')::json AS event
                    FROM gone WHERE counted_for <> customer) g
           WHERE k.customer_id = g.counted_for AND k.source = g.event ->> 'source'
             AND k.id = g.event ->> 'id' AND k.came_with = g.customer
        )
        SELECT customer, count(*) AS n FROM gone GROUP BY customer
        """,
        list(waiting.keys()),
        list(waiting.values()),
    )
    by_customer = {row["customer"]: row["n"] for row in rows}
    # Of several requests about one customer the first did the work.
    return {request: by_customer.pop(customer, 0) for request, customer in waiting.items()}
