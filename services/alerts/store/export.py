"""Everything that alerts stores of one customer, in the words of an answer to that person."""

from typing import Final

from sqlalchemy.ext.asyncio import AsyncEngine

from services.alerts.store.tables import metadata
from shared.postgres.export import CustomerExport, customer_tables

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
    "customer_message": "Messages to the customer by a provider, and what became of them",
    "delivery": "Messages about the customer to your systems (`body`)",
    "attempt": "When these messages were sent, and what was answered",
    "remote_task": "The tasks' numbers in your systems",
}
"""What each table holds. A table that is not named is exported under its own name."""

_IDS: Final = """
SELECT $1::text UNION SELECT o.customer_id FROM alerts.customer o, alerts.customer c
 WHERE c.customer_id = $1 AND (o.part_of = coalesce(c.part_of, $1) OR o.customer_id = c.part_of)
"""


def export_of(engine: AsyncEngine) -> CustomerExport:
    """Return the export of alerts."""
    tables = customer_tables(metadata, MEANINGS)
    return CustomerExport(engine, tables, omitted={"token", "lost", "uncertain"}, ids=_IDS)
