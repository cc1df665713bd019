"""Everything that ingest stores of one customer, in the words of an answer to that person."""

from collections.abc import Sequence
from typing import Final

from sqlalchemy.ext.asyncio import AsyncEngine

from services.ingest.store.erasure import texts_of
from services.ingest.store.tables import dead_letter
from shared.postgres.export import CustomerExport

MEANINGS: Final = {
    "dead_letter": "Records with the customer's id that were refused, as they came (`value`). One "
    "that holds several events may be about other persons too: look before you hand it over",
}

FIELDS: Final = {
    "arrived_ms": "When it arrived, in milliseconds since 1970 (UTC)",
    "dropped_at": "When its content was deleted",
    "field": "The field that was refused",
    "header_names": "Names of its headers",
    "header_values": "Values of its headers, in the same order",
    "id": "Number of the refused record",
    "key": "Its key: usually the customer's id",
    "origin_offset": "Its place there",
    "origin_partition": "Its part there",
    "origin_topic": "Where it came from",
    "producer": "The system that sent it",
    "reason": "Why it was refused",
    "recorded_at": "When it was stored",
    "replay_of": "Number of the refused record that it repeats",
    "settled_at": "When it was settled",
    "settled_by": "Who settled it",
    "settled_why": "Why",
    "stage": "The step of processing that refused it",
    "state": "waiting, replayed or discarded",
    "value": "The record as it came",
}

_HOLDS: Final = """
key = ANY($1::bytea[]) OR EXISTS (
  SELECT 1 FROM unnest($1::bytea[]) AS text WHERE get_byte(text, 0) = ascii('"')
     AND position(text IN value) > 0)
"""
"""As an erasure finds them: the id is the key, or a text of the JSON."""


def export_of(engine: AsyncEngine, currency: str) -> CustomerExport:
    """Return the export of ingest; `currency`: the reporting currency."""
    return CustomerExport(
        engine=engine,
        tables=[dead_letter],
        meanings=MEANINGS,
        fields=FIELDS,
        currency=currency,
        conditions={dead_letter.name: _HOLDS},
        given=_given,
    )


def _given(ids: Sequence[str]) -> list[bytes]:
    return [each for one in ids for each in (one.encode(), *texts_of(one))]
