"""Decides on one event: the canonical activity event, or Invalid with field and reason.

The only gate into the system: Kafka records and HTTP bodies pass the same one. A deterministic
function of its arguments; every fault of the input leaves here as Invalid and nothing else does.
"""

import re
from datetime import UTC, date, datetime
from hashlib import blake2b
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
import orjson
from msgspec import Meta

from services.ingest.core import customers, message, ordinary, times, unknown
from services.ingest.core.faults import fault, from_msgspec
from services.ingest.core.normalise import NORMALISE
from services.ingest.core.ordinary import InteractionEvent, Ordinary, PurchaseEvent
from services.ingest.core.rates import RateTable
from services.ingest.core.unknown import UnknownFields
from shared.contracts import headers as names
from shared.contracts.activity import Activity, ActivityData
from shared.contracts.dead_letter import Headers
from shared.contracts.events import CONTROL_TYPES, DATA_BY_TYPE, ID_LENGTH_MAX, Identifier, id_fault
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
"""Of the content hash: 128 bits, so that no two contents of one id ever meet by chance."""


class Event(msgspec.Struct, kw_only=True):
    """The attributes of a CloudEvent that we read. Others may come and are ignored."""

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
    """An acceptable event, and what its sender should know of it all the same."""

    event: Activity
    notes: tuple[Invalid, ...] = ()
    """Unknown fields, a time that was pulled back."""


def accept(value: bytes | None, headers: Headers, arrived_ms: int, rates: RateTable) -> Activity:
    """The event of `accepted`, where nothing is to be told of it."""
    return accepted(value, headers, arrived_ms, rates).event


def accepted(
    value: bytes | None,
    headers: Headers,
    arrived_ms: int,
    rates: RateTable,
    unknown_fields: UnknownFields = "typos",
) -> Accepted:
    """The canonical form of a raw record; raises Invalid, and nothing else, on bad input.

    `arrived_ms`: Unix ms at which the record entered its topic.
    """
    value = message.present(value)
    mode = message.mode_of(headers)
    quick = None if mode.binary else ordinary.decode(value)
    event, canonical = quick or _careful(value, headers, mode)
    time = times.settle(event.time, arrived_ms)
    backfill = _backfill(headers)
    control = event.type in CONTROL_TYPES
    activity = Activity(
        specversion="1.0",
        id=_short("id", event.id),
        source=_short("source", event.source),
        type=event.type,
        time=time,
        subject="" if control else _customer(event),
        contenthash=_content_hash(event, canonical),
        receivedms=arrived_ms,
        backfill=backfill,
        data=ActivityData() if control else _normalised(event, time.date(), rates),
    )
    notes = () if control or isinstance(event, Ordinary) else _unknown(event, unknown_fields)
    if times.is_clamped(event.time, time):
        notes += (fault("time", "after its arrival: it counts as 5 minutes after it"),)
    return Accepted(activity, notes)


def _unknown(event: Event, mode: UnknownFields) -> tuple[Invalid, ...]:
    return unknown.look(event.data, DATA_BY_TYPE[event.type], mode)


def _short(field: str, text: str) -> str:
    """An id whose bytes an index can hold; Invalid otherwise."""
    if (why := id_fault(text)) is not None:
        raise fault(field, why)
    return text


def _careful(value: bytes, headers: Headers, mode: message.Mode) -> tuple[Event, bytes]:
    """Any event, with its data still unchecked, and these in canonical JSON."""
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
    """The fault in words that name its cause, where the types cannot know it."""
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
    return _short("subject", customers.customer(event.subject))


def _normalised(
    event: Event | PurchaseEvent | InteractionEvent, day: date, rates: RateTable
) -> ActivityData:
    """The event's data in the flat shape; `day` is that of the amount's rate (UTC)."""
    shape = DATA_BY_TYPE.get(event.type)
    if shape is None:
        raise fault("type", f"unknown; known are {', '.join(DATA_BY_TYPE)}")
    data = event.data if isinstance(event, Ordinary) else _converted(event.data, shape)
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


def _backfill(headers: Headers) -> str | None:
    """The import that the record belongs to, by its header."""
    for name, value in headers:
        if name == names.BACKFILL:
            text = message.text_of(name, value)
            if not 1 <= len(text) <= ID_LENGTH_MAX:
                raise fault(name, f"the import's id must have 1 to {ID_LENGTH_MAX} characters")
            return text
    return None


def _content_hash(event: Event | Ordinary, canonical: bytes) -> str:
    """32 hex digits over what the source said, whatever the spelling of the JSON: an array of
    type, subject, time and data, the last of which are already `canonical`.

    The instant counts and not its offset; keys are sorted; numbers as they parse. The import
    is left out: an event of a backfill and the same one live are the same.
    """
    begin = orjson.dumps((event.type, event.subject, event.time.astimezone(UTC)))
    said = b"%b,%b]" % (begin[:-1], canonical)
    return blake2b(said, digest_size=HASH_BYTES).hexdigest()
