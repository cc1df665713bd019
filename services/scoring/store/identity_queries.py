"""Reads which ids are one customer, and what was decided about them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from shared.postgres.engine import unit_of_work
from shared.postgres.statements import Statements, fetch, fetch_value

STATEMENTS_SHOWN_MAX = 100
"""Statements returned about one customer, newest first."""


@dataclass(frozen=True, slots=True)
class CustomerIdRow:
    """One id of a customer."""

    id: str
    since: datetime | None
    """When it became part of the customer, UTC; None for a customer's only id."""
    contact: bool
    """Whether it is a person at the account that the customer is."""
    events: int
    """Events that came with it, as far as their keys are kept."""


@dataclass(frozen=True, slots=True)
class StatementRow:
    """A statement about ids that was decided on."""

    source: str
    id: str
    subject: str
    ids: Sequence[str]
    """All ids that it names."""
    kind: str
    at: datetime
    """UTC, as its sender gave it."""
    refused: str | None
    """Why it changed nothing; None where it counts."""
    note: str | None
    """What could not be done exactly."""


class IdentityQueries(Statements):
    """Statements on identity that change nothing."""

    async def primary(self, customer_id: str) -> str:
        """Returns the id under which the customer with this id is kept; usually the same."""
        query = "SELECT primary_id FROM scoring.member WHERE customer_id = $1"
        found = await fetch_value(self._engine, query, customer_id)
        return customer_id if found is None else str(found)

    async def ids(self, primary: str) -> list[CustomerIdRow]:
        """Reads the ids of a customer, the primary one first."""
        async with unit_of_work(self._engine) as work:
            members = await work.driver.fetch(
                "SELECT customer_id, since, account IS NOT NULL AS contact FROM scoring.member "
                "WHERE primary_id = $1 ORDER BY customer_id <> primary_id, customer_id",
                primary,
            )
            counted = await work.driver.fetch(
                "SELECT coalesce(came_with, customer_id) AS id, count(*) AS n "
                "FROM scoring.event_key WHERE customer_id = $1 GROUP BY 1",
                primary,
            )
        events = {row["id"]: row["n"] for row in counted}
        if not members:
            return [CustomerIdRow(primary, None, contact=False, events=events.get(primary, 0))]
        return [
            CustomerIdRow(name, since, contact, events.get(name, 0))
            for name, since, contact in members
        ]

    async def statements(self, ids: Sequence[str]) -> list[StatementRow]:
        """Reads statements that name one of these ids, newest decision first."""
        rows = await fetch(
            self._engine,
            "SELECT source, id, subject, ids, kind, at, refused, note "
            "FROM scoring.identity_statement WHERE ids && $1::text[] "
            "ORDER BY recorded_at DESC, source, id LIMIT $2",
            list(ids),
            STATEMENTS_SHOWN_MAX,
        )
        return [StatementRow(*row) for row in rows]
