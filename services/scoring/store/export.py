"""Everything that scoring stores of one customer, in the words of an answer to that person."""

from typing import Final

from sqlalchemy.ext.asyncio import AsyncEngine

from services.scoring.store import identity_tables, value_tables
from shared.postgres.export import CustomerExport, customer_tables

_METADATA: Final = {value_tables.standing.metadata, identity_tables.member.metadata}
"""One: each module adds its tables to it when it is imported."""

MEANINGS: Final = {
    "profile": "Who the customer is, as the newest profile says",
    "event": "What the customer did or was sent, as it was recorded (`payload`), with the id that "
    "it came with (`original_customer_id`)",
    "member": "The customer's ids, and the behaviour that came with each",
    "event_key": "The identifiers of these events, by which a repetition is recognised",
    "member_key": "The same of events that another of the customer's ids had sent before",
    "customer_state": "The behaviour of the customer in numbers, and how likely a purchase is",
    "assessment_history": "Assessments that were published, with their reasons (`message`)",
    "standing": "The customer's grade, tier, lifecycle, segments and value at present",
    "standing_change": "When the grade, the tier, the lifecycle or a segment changed",
    "segment_member": "The customer's segments, and since when",
    "grade_override": "Grades that a person set, with the reason",
    "absence": "An absence that was announced",
    "treatment": "Retention tasks about the customer, and what came of them",
    "roll_call": "Weekly samples by which the model's forecasts are judged",
    "shadow_score": "What a model in trial and the one in use said",
    "timer": "When the customer is looked at next",
}
"""What each table holds. A table that is not named is exported under its own name."""

_IDS: Final = """
SELECT $1::text UNION SELECT o.customer_id FROM scoring.member m
  JOIN scoring.member o USING (primary_id) WHERE m.customer_id = $1
"""


def export_of(engine: AsyncEngine) -> CustomerExport:
    """Return the export of scoring; the scan of the stored events comes last."""
    (metadata,) = _METADATA
    tables = customer_tables(metadata, MEANINGS)
    return CustomerExport(
        engine, tables, omitted={"partition", "content_hash", "state", "own_state"}, ids=_IDS
    )
