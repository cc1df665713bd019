"""Decoders of framed records and of a schema registry's answers, with their samples."""

import json
import random
from typing import Final

from services.ingest.core.faults import WHOLE, fault
from services.ingest.core.framing.frame import frame_of
from services.ingest.core.framing.schemas import RegisteredSchema, make_decoder, read_schema
from tests.unit.ingest.framing.samples import EVENT, framed
from tests.unit.ingest.test_open_frames import BODY

RECORDS: Final = (framed(1, BODY),)
ANSWERS: Final = (
    {"schema": json.dumps(EVENT), "id": 1},
    {"schema": "{}", "schemaType": "JSON"},
)
AVRO: Final = make_decoder(RegisteredSchema(json.dumps(EVENT)), {})


def record(_: random.Random, given: bytes) -> object:
    """Decodes a record that names a schema, as the consumer does."""
    frame = frame_of(given, ())
    try:
        return None if frame is None else AVRO(frame)
    except ValueError as error:
        raise fault(WHOLE, str(error)) from error


def schema(_: random.Random, given: bytes) -> object:
    """Reads a registry's answer and makes a decoder of it."""
    answer = read_schema(given)
    try:
        return make_decoder(answer, {each.name: "" for each in answer.references or ()})
    except ValueError as error:
        raise fault(WHOLE, str(error)) from error
