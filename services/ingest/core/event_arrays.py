"""Decides on an event array: one record that holds a JSON array of CloudEvents.

It is known by its content type, `application/cloudevents-batch+json` (CloudEvents calls it a
batch). Its events are decided on one by one, so a bad one does not take the others with it.
"""

from typing import Final

from services.ingest.core import message
from services.ingest.core.accept import accepted
from services.ingest.core.bodies import RAW_ARRAY
from services.ingest.core.faults import WHOLE, decoded, fault
from services.ingest.core.mapping.apply import EVENTS_MAX, Mapped
from services.ingest.core.rates import RateTable
from services.ingest.core.unknown import UnknownFields
from shared.contracts import headers as names
from shared.contracts.dead_letter import Headers
from shared.kernel.errors import Invalid

CONTENT_TYPE: Final = b"application/cloudevents-batch+json"


def decide(
    value: bytes | None,
    headers: Headers,
    arrived_ms: int,
    rates: RateTable,
    unknown_fields: UnknownFields = "typos",
) -> Mapped | None:
    """Returns what an array's events become; None where the record is no array or an empty one.

    >>> decide(b"[]", (), 0, RateTable("USD")) is None
    True
    """
    if not any(name == names.CONTENT_TYPE and _is_array(said) for name, said in headers):
        return None
    try:
        events = decoded(RAW_ARRAY, message.present(value), WHOLE, "a JSON array of events")
    except Invalid as refusal:
        return Mapped(refusals=(refusal,))
    if not events:
        return None
    if len(events) > EVENTS_MAX:
        return Mapped(refusals=(fault(WHOLE, f"a batch has at most {EVENTS_MAX:,} events"),))
    others = tuple(header for header in headers if header[0] != names.CONTENT_TYPE)
    found, refused = [], []
    for index, event in enumerate(events):
        try:
            found.append(accepted(bytes(event), others, arrived_ms, rates, unknown_fields))
        except Invalid as refusal:
            refused.append(fault(refusal.field, f"event {index}: {refusal.reason}"))
    return Mapped(tuple(found), tuple(refused))


def _is_array(content_type: bytes | None) -> bool:
    return (content_type or b"").partition(b";")[0].strip().lower() == CONTENT_TYPE
