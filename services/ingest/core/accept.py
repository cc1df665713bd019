"""Decides on one event: returns the canonical activity event, or raises Invalid with the reason.

Every event enters the system here, from Kafka as over HTTP. The result is a deterministic function
of the arguments; every fault of the input raises Invalid, and nothing else is raised.
"""

import re
from datetime import UTC, date, datetime
from hashlib import blake2b
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
import orjson
from msgspec import Meta

from services.ingest.core import customers, message, ordinary, times, unknown
from services.ingest.core.faults import fault, from_msgspec, short
from services.ingest.core.normalise import NORMALISE
from services.ingest.core.ordinary import InteractionEvent, Ordinary, PurchaseEvent
from services.ingest.core.rates import RateTable
from services.ingest.core.unknown import UnknownFields
from shared.contracts import headers as names
from shared.contracts.activity import Activity, ActivityData
from shared.contracts.dead_letter import Headers
from shared.contracts.events import (
    CONTROL_TYPES,
    DATA_BY_TYPE,
    ID_LENGTH_MAX,
    Identifier,
    Loyalty,
)
from shared.kernel.errors import Invalid

NO_CLOUDEVENT = (
    "missing: this is not a CloudEvent. Put what you have into `data` of one: "
    '{"specversion": "1.0", "id": ..., "source": ..., "type": "io.ebbwatch.purchase", '
    '"time": ..., "subject": <customer>, "data": {"amount": "12.50", "currency": "USD"}}'
)

HYPHENS = (
    "missing: Kafka's binary mode has the attributes in headers `ce_...`, with an underscore; "
    "these are `ce-...`, as over HTTP"
)

LEAP_SECOND = re.compile(r"[0-9]:60(?![0-9:])")

HASH_BYTES = 16
"""Length of the content hash: with 128 bits, two different contents of one id never collide by
chance."""


class Event(msgspec.Struct, kw_only=True):
    """The attributes of a CloudEvent that we read; others are ignored."""

    specversion: Literal["1.0"]
    id: Identifier
    source: Identifier
    type: Identifier
    time: Annotated[datetime, Meta(tz=True)]
    subject: Identifier | None = None
    """The customer id; not needed on control events."""
    datacontenttype: str | None = None
    data: Any = None
    data_base64: Any = None


class Accepted(NamedTuple):
    """An accepted event, and notes about it for its sender."""

    event: Activity
    notes: tuple[Invalid, ...] = ()
    """Unknown fields, and a time that was clamped."""


def accepted(
    value: bytes | None,
    headers: Headers,
    arrived_ms: int,
    rates: RateTable,
    unknown_fields: UnknownFields = "typos",
) -> Accepted:
    """Returns the canonical form of a raw record; raises Invalid, and nothing else, on bad input.

    `arrived_ms`: Unix ms at which the record entered its topic.
    """
    value = message.present(value)
    mode = message.mode_of(headers)
    quick = None if mode.binary else ordinary.decode(value)
    event, canonical = quick or _careful(value, headers, mode)
    backfill = import_of(headers)
    found = canonical_form(event, canonical, backfill, arrived_ms, rates)
    if isinstance(event, Ordinary) or event.type in CONTROL_TYPES:
        return found
    return Accepted(found.event, _unknown(event, unknown_fields) + found.notes)


def canonical_form(
    event: Event | PurchaseEvent | InteractionEvent,
    canonical: bytes,
    backfill: str | None,
    arrived_ms: int,
    rates: RateTable,
    *,
    once: bool = False,
) -> Accepted:
    """Returns the canonical form of a decoded event; raises Invalid, and nothing else.

    `canonical`: its data, as the content hash reads them. `once`: the content hash leaves out the
    time as well, so that every later event with this id counts as the same.
    """
    time = times.plausible(event.time, arrived_ms)
    control = event.type in CONTROL_TYPES
    activity = Activity(
        specversion="1.0",
        id=short("id", event.id),
        source=short("source", event.source),
        type=event.type,
        time=time,
        subject="" if control else _customer(event),
        contenthash=_content_hash(event, canonical, once=once),
        receivedms=arrived_ms,
        backfill=backfill,
        data=ActivityData() if control else _normalised(event, time.date(), rates),
    )
    if time == event.time:
        return Accepted(activity)
    clamped = fault("time", "after its arrival: it counts as 5 minutes after it")
    return Accepted(activity, (clamped,))


def _unknown(event: Event, mode: UnknownFields) -> tuple[Invalid, ...]:
    return unknown.look(event.data, DATA_BY_TYPE[event.type], mode)


def _careful(value: bytes, headers: Headers, mode: message.Mode) -> tuple[Event, bytes]:
    """Reads any event: its attributes with unchecked data, and the data in canonical JSON."""
    attributes, canonical = message.read(value, headers, mode)
    try:
        event = msgspec.convert(attributes, Event)
    except msgspec.ValidationError as error:
        raise _better(attributes, from_msgspec(error), headers, mode) from error
    _check_content(event)
    return event, canonical


def _better(
    attributes: dict[str, Any], found: Invalid, headers: Headers, mode: message.Mode
) -> Invalid:
    """Returns a fault that names the cause where msgspec's message does not; else `found`."""
    if "specversion" not in attributes:
        hyphens = any(name.lower().startswith("ce-") for name, _ in headers)
        if mode.binary:
            return fault(
                "specversion", "missing: binary mode has it in the header `ce_specversion`"
            )
        return fault("specversion", HYPHENS if hyphens else NO_CLOUDEVENT)
    time = attributes.get("time")
    if found.field == "time" and isinstance(time, str) and LEAP_SECOND.search(time):
        return fault("time", "leap seconds (:60) are not taken: send the second before it (:59)")
    return found


def _customer(event: Event | Ordinary) -> str:
    if event.subject is None:
        raise fault("subject", "missing: it names the customer")
    return customers.customer(event.subject)


def _normalised(
    event: Event | PurchaseEvent | InteractionEvent, day: date, rates: RateTable
) -> ActivityData:
    """Returns the event's data in the flat shape; `day` (UTC) selects the exchange rate."""
    shape = DATA_BY_TYPE.get(event.type)
    if shape is None:
        raise fault("type", f"unknown; known are {', '.join(DATA_BY_TYPE)}")
    data = event.data if isinstance(event, Ordinary) else _converted(event.data, shape)
    if isinstance(data, Loyalty) and data.referred is not None and data.referred == event.subject:
        raise fault("data.referred", "is the customer of the event: no one refers themselves")
    return NORMALISE[shape](data, day, rates)


def _converted(data: Any, shape: type[msgspec.Struct]) -> msgspec.Struct:
    if data is None:
        raise fault("data", "missing")
    try:
        return msgspec.convert(data, shape)
    except msgspec.ValidationError as error:
        raise from_msgspec(error, "data") from error


def _check_content(event: Event) -> None:
    if event.data_base64 is not None:
        raise fault("data_base64", "send JSON in `data`")
    if event.datacontenttype is not None and not message.is_json(event.datacontenttype):
        raise fault("datacontenttype", f"{event.datacontenttype!r}; send application/json")


def import_of(headers: Headers) -> str | None:
    """Returns the id of the import that the record belongs to, from its header."""
    for name, value in headers:
        if name == names.BACKFILL:
            text = message.text_of(name, value)
            if not 1 <= len(text) <= ID_LENGTH_MAX:
                raise fault(name, f"the import's id must have 1 to {ID_LENGTH_MAX} characters")
            return text
    return None


def _content_hash(event: Event | Ordinary, canonical: bytes, *, once: bool) -> str:
    """Returns 32 hex digits: a hash of what the source sent, independent of the JSON's formatting.

    It covers an array of type, subject, time and data; the data are already `canonical`. Times are
    compared as instants, not by offset; keys are sorted; numbers as they parse. The import is left
    out, so an event of a backfill equals the same event sent live.
    """
    time = None if once else event.time.astimezone(UTC)
    begin = orjson.dumps((event.type, event.subject, time))
    said = b"%b,%b]" % (begin[:-1], canonical)
    return blake2b(said, digest_size=HASH_BYTES).hexdigest()
