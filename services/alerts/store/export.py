"""Everything that alerts stores of one customer, in the words of an answer to that person."""

from typing import Final

from sqlalchemy.ext.asyncio import AsyncEngine

from services.alerts.store.export_fields import FIELDS
from services.alerts.store.tables import metadata
from shared.contracts.feature_row import NAMES
from shared.postgres.export import CustomerExport, Row, customer_tables

MEANINGS: Final = {
    "customer": "The profile, and the state of warnings about the customer",
    "task": "Retention tasks about the customer, with reasons and verdicts",
    "task_event": "What owners did with these tasks",
    "trial": "Whether the customer was contacted or left alone, and what came of it",
    "withheld_task": "Tasks that were not raised, because they would have done harm",
    "purchase": "Purchases and refunds by which the outcome is measured",
    "assessment": "Assessments that were received (`message`)",
    "segment_entry": "Entries into segments that were acted on",
    "feedback": "What the customer said: suggestions, surveys, complaints",
    "consent": "Channels that the customer consents to, and since when",
    "subscription": "Channels that the customer unsubscribed from, or returned to",
    "wish": "What the customer allowed or refused, when, and by which source",
    "customer_message": "Messages to the customer by a provider, and what became of them",
    "delivery": "Messages about the customer to your systems (`body`)",
    "attempt": "When these messages were sent, and what was answered",
    "remote_task": "The tasks' numbers in your systems",
}
"""What each table holds. A table that is not named is exported under its own name."""

_IDS: Final = """
SELECT $1::text UNION SELECT o.customer_id FROM alerts.customer o, alerts.customer c
 WHERE c.customer_id = $1 AND c.contact IS NOT TRUE
   AND (o.part_of = coalesce(c.part_of, $1) OR o.customer_id = c.part_of)
"""
"""A contact is a person: what the account and its other contacts did is not theirs."""

_CAME_WITH: Final = """
customer_id = ANY($1::text[]) OR came_with = ANY($1::text[]) AND customer_id IN (
  SELECT part_of FROM alerts.customer WHERE customer_id = ANY($1::text[]))
"""
"""What came with an id and was moved to the customer that it is part of."""

_OMITTED: Final = frozenset(
    {"token", "lost", "uncertain", "seq", "armed", "ramp_until", "life", "grade_rank", "tell_at",
     "received_ms", "next_at", "traceparent"}
)  # fmt: skip


def export_of(engine: AsyncEngine) -> CustomerExport:
    """Return the export of alerts."""
    tables = customer_tables(metadata, MEANINGS)
    return CustomerExport(
        engine=engine,
        tables=tables,
        meanings=MEANINGS,
        fields=FIELDS,
        currency="the one that `currency` of `customer` names",
        omitted=_OMITTED,
        ids=_IDS,
        conditions={table.name: _CAME_WITH for table in tables if "came_with" in table.c},
        readers={"features": _features},
    )


def _features(row: Row) -> dict[str, float | None] | None:
    """Returns the feature row of a trial by name."""
    values = row["features"]
    if values is None:
        return None
    return dict(zip(NAMES[row["feature_version"]], values, strict=False))
