"""Reads a record's bytes and headers into the attributes of one CloudEvent, as plain JSON values.

CloudEvents 1.0 for Kafka: structured mode (one JSON object) or binary mode (`ce_*` headers, `data`
as the value). Strict where JSON parsers are lax: UTF-8, finite numbers, no duplicate keys, no NUL
characters. The meaning of the attributes is not checked here.
"""

import contextlib
import json
from typing import Any, NamedTuple

import orjson

from services.ingest.core.faults import WHOLE, Pairs, fault, find
from shared.contracts import headers as names
from shared.contracts.dead_letter import Headers
from shared.contracts.topics import MESSAGE_BYTES_MAX
from shared.kernel.errors import Invalid

DATA = "data"
CONTENT_TYPE_ATTRIBUTE = "datacontenttype"


class Mode(NamedTuple):
    """How a record carries its event."""

    content_type: str | None
    binary: bool
    """True: attributes in headers, data as the value. False: both are in the value."""


STRUCTURED = Mode(names.CLOUDEVENTS_JSON, binary=False)

STRUCTURED_HEADERS: Headers = ((names.CONTENT_TYPE, names.CLOUDEVENTS_JSON.encode()),)
"""Headers of a record whose value is a whole CloudEvent."""


def present(value: bytes | None) -> bytes:
    """Returns the value of a record; raises Invalid if it is missing or too large."""
    if value is None:
        raise fault(WHOLE, "no value: a tombstone deletes nothing here")
    if len(value) > MESSAGE_BYTES_MAX:
        raise fault(WHOLE, f"{len(value):,} bytes; at most {MESSAGE_BYTES_MAX:,} are accepted")
    return value


def read(value: bytes, headers: Headers, mode: Mode) -> tuple[dict[str, Any], bytes]:
    """Returns the event's attributes, and its `data` in canonical JSON; raises Invalid on faults.

    Canonical JSON has sorted keys and no white space. `mode` is the result of `mode_of`. In binary
    mode the content type becomes `datacontenttype`.
    """
    path = DATA if mode.binary else ""
    try:
        parsed = orjson.loads(value)
    except orjson.JSONDecodeError as error:
        raise _why_not_json(value, path, error) from error
    canonical = _checked(value, parsed, path)
    if mode.binary:
        attributes = _from_headers(headers)
        attributes[CONTENT_TYPE_ATTRIBUTE] = mode.content_type
        attributes[DATA] = parsed
        return attributes, canonical
    if not isinstance(parsed, dict):
        raise fault(WHOLE, "not a JSON object: send one CloudEvent per record")
    return parsed, canonical


def document(value: bytes) -> Any:
    """Returns a JSON value that is no CloudEvent, after the same checks; raises Invalid."""
    try:
        parsed = orjson.loads(value)
    except orjson.JSONDecodeError as error:
        raise _why_not_json(value, "", error) from error
    try:
        written = orjson.dumps(parsed)
    except orjson.JSONEncodeError as error:
        raise fault(WHOLE, "nested too deep") from error
    _refuse_suspicious(value, written.count(b":"), "")
    return parsed


def is_json(content_type: str) -> bool:
    """Returns whether a media type is JSON.

    >>> is_json("application/json; charset=utf-8"), is_json("application/avro")
    (True, False)
    """
    media = content_type.partition(";")[0].strip().lower()
    return media.endswith(("/json", "+json"))


def text_of(name: str, value: bytes | None) -> str:
    """Returns a header's value as text; raises Invalid with the header's name if it is not text."""
    try:
        text = (value or b"").decode()
    except UnicodeDecodeError as error:
        raise fault(name, "not UTF-8") from error
    if "\0" in text:
        raise fault(name, "a NUL character cannot be stored")
    return text


def mode_of(headers: Headers) -> Mode:
    """Returns the mode of a record; raises Invalid for an unsupported content type."""
    content_type, binary = None, False
    for name, value in headers:
        if name == names.CONTENT_TYPE:
            content_type = text_of(name, value)
        elif name.startswith(names.CLOUDEVENTS_PREFIX):
            binary = True
    if content_type == names.CLOUDEVENTS_JSON:
        return STRUCTURED
    if content_type is None or not content_type.lower().startswith("application/cloudevents"):
        return Mode(content_type, binary)
    if content_type.partition(";")[0].strip().lower() != names.CLOUDEVENTS_JSON:
        raise fault(names.CONTENT_TYPE, f"{content_type!r}; send {names.CLOUDEVENTS_JSON}")
    return Mode(content_type, binary=False)


def _from_headers(headers: Headers) -> dict[str, Any]:
    attributes: dict[str, Any] = {}
    for header, value in headers:
        if not header.startswith(names.CLOUDEVENTS_PREFIX):
            continue
        name = header.removeprefix(names.CLOUDEVENTS_PREFIX)
        if name in attributes:
            raise fault(name, f"sent twice: two headers `{header}`")
        attributes[name] = text_of(name, value)
    return attributes


def _checked(value: bytes, parsed: Any, path: str) -> bytes:
    """Checks what the parser lets through and returns `data` in its canonical form."""
    if path == DATA:
        around, data = None, parsed
    elif isinstance(parsed, dict) and DATA in parsed:
        around, data = parsed | {DATA: None}, parsed[DATA]
    else:
        around, data = parsed, None
    try:
        # Written in two pieces, since the content hash needs the second one.
        written = orjson.dumps(around)
        # In brackets: `data` is one level deep in the event, and so counts in binary mode too.
        canonical = orjson.dumps([data], option=orjson.OPT_SORT_KEYS)[1:-1]
    except orjson.JSONEncodeError as error:
        raise fault(WHOLE, "nested too deep") from error
    _refuse_suspicious(value, written.count(b":") + canonical.count(b":"), path)
    return canonical


def _refuse_suspicious(value: bytes, colons_kept: int, path: str) -> None:
    """Raises Invalid where a key is there twice or a text holds NUL."""
    if (b"\\" in value or value.count(b":") != colons_kept) and _suspicious(value, colons_kept):
        found = find(json.loads(value, object_pairs_hook=Pairs), path)
        if found is not None:
            raise found


ZERO = """begins with a zero byte, as Avro and Protobuf with a schema registry do: set \
EBBWATCH_INGEST_REGISTRY_URL, or send JSON"""

FOREIGN = (
    *(
        (beginning, f"compressed with {name}: send it uncompressed")
        for beginning, name in (
            (b"\x1f\x8b", "gzip"),
            (b"\x28\xb5\x2f\xfd", "Zstandard"),
            (b"\x78\x01", "zlib"),
            (b"\x78\x5e", "zlib"),
            (b"\x78\x9c", "zlib"),
            (b"\x78\xda", "zlib"),
            (b"\x04\x22\x4d\x18", "LZ4"),
            (b"\xff\x06\x00\x00sNaPpY", "Snappy"),
            (b"BZh", "bzip2"),
            (b"\xfd7zXZ", "xz"),
            (b"PK\x03\x04", "ZIP"),
        )
    ),
    (b"\x00\x00\x00{", "UTF-32: send UTF-8"),
    (b"{\x00\x00\x00", "UTF-32: send UTF-8"),
    (b"\x00{", "UTF-16: send UTF-8"),
    (b"{\x00", "UTF-16: send UTF-8"),
    (b"\x00", ZERO),
    (b"\xff\xfe", "UTF-16: send UTF-8"),
    (b"\xfe\xff", "UTF-16: send UTF-8"),
    (b"\xef\xbb\xbf", "begins with a byte order mark: send UTF-8 without it"),
    (b"<", "XML or HTML: send JSON"),
)
"""How values that are not JSON begin, and the reason to report."""

SEVERAL = "several JSON documents one after another (NDJSON): send one event in each record; over \
HTTP send an array, or NDJSON as application/x-ndjson"


def _why_not_json(value: bytes, path: str, error: orjson.JSONDecodeError) -> Invalid:
    for beginning, reason in FOREIGN:
        if value.startswith(beginning):
            return fault(WHOLE, f"not JSON: {reason}")
    try:
        text = value.decode()
    except UnicodeDecodeError as undecodable:
        return fault(WHOLE, f"not UTF-8: byte {undecodable.start}, {undecodable.reason}")
    # A lenient parser takes NaN, Infinity and 1e999, which some libraries write: name the field.
    with contextlib.suppress(ValueError, RecursionError):
        if _is_several(text):
            return fault(WHOLE, f"not JSON: {SEVERAL}")
        if found := find(json.loads(text, object_pairs_hook=Pairs), path):
            return found
    return fault(WHOLE, f"not JSON: {error}")


def _is_several(text: str) -> bool:
    """Returns whether a second document follows the first; ValueError if there is not even one."""
    begin = len(text) - len(text.lstrip())
    _, end = json.JSONDecoder().raw_decode(text, begin)
    return text[end:].lstrip().startswith(("{", "["))


def _suspicious(value: bytes, colons_kept: int) -> bool:
    """Returns True when keys may be duplicated or a string may hold NUL; false alarms are rare.

    The parser keeps the last of two equal keys, so what it writes has at least one colon fewer;
    `colons_kept` counts the colons written. Counting is exact but for colons written as escapes,
    and those are counted too: an escaped backslash before `u003a` gives a false alarm, never a
    miss.
    """
    colons = value.count(b":")
    if b"\\u00" in value:
        colons += value.count(b"\\u003a") + value.count(b"\\u003A")
        if b"\\u0000" in value:
            return True
    return colons != colons_kept
