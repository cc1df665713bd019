"""Splits the body of a request into events as they were written; reads binary mode's headers."""

import re
from typing import Final, Literal
from urllib.parse import unquote_to_bytes

import msgspec

from services.ingest.core.faults import decoded, fault, index_path
from shared.contracts import headers as names
from shared.contracts.dead_letter import Headers
from shared.kernel.errors import Invalid

EVENTS_MAX: Final = 1_000
"""Events in one request: half a batch of the consumer, acknowledged in tens of milliseconds."""

BINARY_PREFIX: Final = "ce-"
"""Prefix of the headers of CloudEvents' HTTP binary mode."""

Form = Literal["json", "lines", "one"]
"""What a body holds: a JSON object or an array of them; one in each line; one event's data."""

RAW_ARRAY: Final = msgspec.json.Decoder(list[msgspec.Raw])
"""Reads an array whose elements stay as they were written."""
_ESCAPED = re.compile(r"%[0-9A-Fa-f]{2}")


def split(body: bytes, form: Form = "json") -> list[bytes]:
    """Returns the events of a request as they were written; Invalid for a malformed array.

    >>> split(b'[{"id": "1"}, {"id": "2"}]')
    [b'{"id": "1"}', b'{"id": "2"}']
    >>> split(b'{"id": "1"}\\r\\n\\n{"id": "2"}\\n', "lines")
    [b'{"id": "1"}', b'{"id": "2"}']
    """
    if form == "lines":
        check_count(body.count(b"\n"))  # before a list of as many is made
        return [line for each in body.split(b"\n") if (line := each.strip())]
    if form == "one" or not body.lstrip().startswith(b"["):
        return [body]
    events = decoded(RAW_ARRAY, body, "body", "a JSON array of events")
    check_count(len(events))
    return [bytes(event) for event in events]


def check_count(events: int) -> None:
    """Raise Invalid for more than `EVENTS_MAX`."""
    if events > EVENTS_MAX:
        raise Invalid(index_path("body", EVENTS_MAX), f"send at most {EVENTS_MAX:,} events")


def binary_mode(given: list[tuple[str, str]], content_type: str | None) -> Headers:
    """Returns a record's headers of binary mode for those of HTTP; `given`: lower-case names.

    CloudEvents' HTTP binding writes letters beyond ASCII, spaces, quotes and percent signs as
    `%XX`. Raises Invalid where these are not UTF-8.

    >>> binary_mode([("ce-id", "a%20b"), ("host", "x")], None)
    (('content-type', b'application/json'), ('ce_id', b'a b'))
    """
    found = [(names.CONTENT_TYPE, (content_type or "application/json").encode())]
    for name, text in given:
        if not name.startswith(BINARY_PREFIX):
            continue
        attribute = name.removeprefix(BINARY_PREFIX)
        # Sent as bytes of Latin-1 by HTTP; a client that writes UTF-8 directly is read too.
        value = text.encode("latin-1", "replace")
        value = unquote_to_bytes(value) if _ESCAPED.search(text) else value
        try:
            value.decode()
        except UnicodeDecodeError as error:
            raise fault(attribute, f"the header `{name}` is not UTF-8, written with %") from error
        found.append((names.CLOUDEVENTS_PREFIX + attribute, value))
    return tuple(found)
