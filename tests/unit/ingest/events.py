"""Events for tests: acceptable ones, and the rows of bad input with the expected errors."""

import bz2
import json
import lzma
import zlib
from dataclasses import dataclass
from typing import Any

from services.ingest.core.accept import accepted
from services.ingest.core.rates import RateTable
from shared.contracts import events as types
from shared.contracts.activity import Activity
from shared.contracts.dead_letter import Headers
from shared.contracts.topics import MESSAGE_BYTES_MAX

ARRIVED_MS = 1_772_355_600_000
"""2026-03-01T09:00:00Z."""

NUL = "\\u0000"


def accept(value: bytes | None, headers: Headers, arrived_ms: int, rates: RateTable) -> Activity:
    """Return the event of `accepted` without its notes."""
    return accepted(value, headers, arrived_ms, rates).event


def event(**changes: Any) -> dict[str, Any]:
    """Return a purchase as a structured CloudEvent.

    `changes` replace attributes, `None` removes one.
    """
    attributes = {
        "specversion": "1.0",
        "id": "basket-1",
        "source": "shop/till",
        "type": types.PURCHASE,
        "time": "2026-03-01T08:30:00Z",
        "subject": "household-7",
        "data": {"amount": "12.50", "currency": "USD"},
    } | changes
    return {name: value for name, value in attributes.items() if value is not None}


def encoded(**changes: Any) -> bytes:
    """Return `event` as the value of a record."""
    return json.dumps(event(**changes)).encode()


def purchase(**data: Any) -> bytes:
    """Return a purchase with this data."""
    return encoded(data=data)


def binary_headers(**changes: Any) -> Headers:
    """Return a purchase's attributes as the headers of binary mode."""
    found = {k: v for k, v in event(**changes).items() if k != "data"}
    return tuple((f"ce_{name}", value.encode()) for name, value in found.items())


@dataclass(frozen=True, slots=True)
class Bad:
    """One row: the input, with the field and a part of the reason that the error must contain."""

    name: str
    value: bytes | None
    field: str
    reason: str
    headers: Headers = ()

    def __str__(self) -> str:
        return self.name


def _json(text: str) -> bytes:
    """Return a purchase with this piece of JSON as its amount."""
    return encoded(data={"amount": "@"}).replace(b'"@"', text.encode())


ID_300 = "x" * 300

BAD = (
    # The rows that the system promises to withstand, in the order of the promise.
    Bad("not JSON", b"purchase;7;12.50", "value", "not JSON"),
    Bad("gzip", b"\x1f\x8b\x08\x00", "value", "compressed with gzip"),
    Bad("zlib", zlib.compress(encoded()), "value", "compressed with zlib"),
    Bad("bzip2", bz2.compress(encoded()), "value", "compressed with bzip2"),
    Bad("xz", lzma.compress(encoded()), "value", "compressed with xz"),
    Bad("Avro", b"\x00\x00\x00\x00\x07\x02abc", "value", "zero byte"),
    *(
        Bad(f"{name} without a mark", encoded().decode().encode(name), "value", name[:6])
        for name in ("UTF-16-LE", "UTF-16-BE", "UTF-32-LE", "UTF-32-BE")
    ),
    Bad("UTF-16", encoded().decode().encode("utf-16"), "value", "UTF-16: send UTF-8"),
    Bad("byte order mark", b"\xef\xbb\xbf" + encoded(), "value", "byte order mark"),
    Bad("XML", b"<event/>", "value", "XML"),
    Bad("NDJSON", encoded() + b"\n" + encoded(), "value", "NDJSON"),
    Bad(
        "Shopify",
        b'{"id": 820982911946154508, "email": "a@b.example"}',
        "specversion",
        "into `data`",
    ),
    Bad("empty value", b"", "value", "not JSON"),
    Bad("wrong shape: array", b"[1, 2]", "value", "not a JSON object"),
    Bad("wrong shape: number", b"7", "value", "not a JSON object"),
    Bad("wrong shape: data is text", encoded(data="12.50"), "data", "Expected `object`"),
    Bad("wrong shape: no data", encoded(data=None), "data", "missing"),
    Bad("wrong shape: number for text", encoded(id=7), "id", "Expected `str`, got `int`"),
    Bad("wrong shape: within a list", purchase(items=[{}, {"sku": 1}]), "data.items[1].sku", "str"),
    Bad("unknown type", encoded(type="com.example.hello"), "type", "unknown"),
    Bad("missing customer", encoded(subject=None), "subject", "missing"),
    Bad("null customer", encoded().replace(b'"household-7"', b"null"), "subject", "missing"),
    Bad("empty customer id", encoded(subject=""), "subject", "length >= 1"),
    Bad("empty event id", encoded(id=""), "id", "length >= 1"),
    Bad("300-character customer id", encoded(subject=ID_300), "subject", "length <= 256"),
    Bad("customer id of 768 bytes", encoded(subject="客" * 256), "subject", "768 bytes in UTF-8"),
    Bad("event id of 516 bytes", encoded(id="\U00020000" * 129), "id", "516 bytes in UTF-8"),
    Bad("source of 516 bytes", encoded(source="\U00020000" * 129), "source", "516 bytes in UTF-8"),
    Bad(
        "owner id of 516 bytes",
        encoded(type=types.PROFILE, data={"owner": {"id": "\U0002a6cf" * 129}}),
        "data.owner.id",
        "516 bytes",
    ),
    *(
        Bad(f"nobody: {name!r}", encoded(subject=name), "subject", "broken client")
        for name in ("undefined", " NULL ", "[object Object]", "NaN", "none", "\u200bnull\u2060")
    ),
    *(
        Bad(f"nobody: {name!r}", encoded(subject=name), "subject", "blank")
        for name in (" ", "\t\n", "\u200b", "\ufeff\u00a0", "\u3000", "\u3164", "\u00ad\u202e")
    ),
    Bad("300-character event id", encoded(id=ID_300), "id", "length <= 256"),
    Bad("300-character source", encoded(source=ID_300), "source", "length <= 256"),
    Bad("negative amount", purchase(amount="-0.01"), "data.amount", "negative"),
    Bad("negative cost", purchase(cost="-1"), "data.cost", "negative"),
    Bad("amount NaN as text", purchase(amount="NaN"), "data.amount", "decimal number as a string"),
    Bad("amount infinite as text", purchase(amount="Infinity"), "data.amount", "decimal number"),
    Bad("amount NaN as JSON", _json("NaN"), "data.amount", "not a finite number"),
    Bad("amount infinite as JSON", _json("-1e999"), "data.amount", "not a finite number"),
    Bad("amount a float", _json("12.5"), "data.amount", "got `float`"),
    Bad("amount of a float", purchase(amount="59.900000000000006"), "data.amount", "9 after it"),
    Bad("typing error in a field", purchase(ammount="1"), "data.ammount", "is `amount` meant?"),
    Bad("field in capitals", purchase(Amount="1"), "data.Amount", "is `amount` meant?"),
    Bad("typing error in a line", purchase(items=[{"skuu": "1"}]), "data.items[0].skuu", "`sku`"),
    Bad("amount with exponent", purchase(amount="1e3"), "data.amount", "malformed"),
    Bad("amount with a final newline", purchase(amount="12\n"), "data.amount", "malformed"),
    Bad("amount in other digits", purchase(amount="١٢"), "data.amount", "malformed"),
    Bad("year 0", encoded(time="0000-01-01T00:00:00Z"), "time", "RFC 3339"),
    Bad("year 1", encoded(time="0001-01-01T00:00:00+14:00"), "time", "before 1990-01-01"),
    Bad("year 9999", encoded(time="9999-12-31T23:59:59-14:00"), "time", "after its arrival"),
    Bad("leap second", encoded(time="2016-12-31T23:59:60Z"), "time", "leap seconds (:60)"),
    Bad("no time", encoded(time=None), "time", "missing"),
    Bad("time without offset", encoded(time="2026-03-01T08:30:00"), "time", "timezone"),
    Bad("time as a number", encoded(time=1772353800), "time", "got `int`"),
    Bad("2 MB message", encoded(pad="x" * 2 * 1024 * 1024), "value", "at most 1,048,576"),
    Bad("one byte too long", b" " * MESSAGE_BYTES_MAX + b"{", "value", "1,048,577 bytes"),
    Bad("null value", None, "value", "tombstone"),
    Bad("invalid UTF-8", encoded().replace(b"household", b"house\xffhold"), "value", "not UTF-8"),
    Bad("half a surrogate pair", encoded(subject="\ud83d"), "value", "not JSON"),
    # Input that JSON parsers accept and PostgreSQL or a reader does not.
    Bad("NUL in the customer id", encoded(subject="a\0b"), "subject", "NUL"),
    Bad("NUL in a key", purchase(**{"a\0b": 1}), "data.a\\u0000b", "NUL"),
    Bad("NUL in a list", purchase(items=[{"sku": "\0"}]), "data.items[0].sku", "NUL"),
    Bad("attribute sent twice", b'{"id": "1", "id": "2"}', "id", "twice"),
    Bad(
        "field sent twice",
        encoded(data={"amount": "1", "@": "2"}).replace(b"@", b"amount"),
        "data.amount",
        "twice",
    ),
    Bad(
        "field sent twice, hidden by an escaped colon",
        encoded(data={"amount": "1", "@": "x#"}).replace(b"@", b"amount").replace(b"#", b"\\u003a"),
        "data.amount",
        "twice",
    ),
    Bad(
        "nested too deep",
        encoded(data={"x": "@"}).replace(b'"@"', b"[" * 300 + b"]" * 300),
        "value",
        "nested too deep",
    ),
    Bad(
        "binary: nested too deep",
        b'{"x":' + b"[" * 253 + b"]" * 253 + b"}",
        "value",
        "nested too deep",
        binary_headers(),
    ),
    Bad("nested far too deep", b"[" * 500_000, "value", "not JSON"),
    # CloudEvents.
    Bad("another CloudEvents version", encoded(specversion="0.3"), "specversion", "0.3"),
    Bad(
        "binary mode without its version",
        b'{"amount": "12.50"}',
        "specversion",
        "header `ce_specversion`",
        tuple(h for h in binary_headers() if h[0] != "ce_specversion"),
    ),
    Bad(
        "binary mode with the headers of HTTP",
        b'{"amount": "12.50"}',
        "specversion",
        "with an underscore",
        (("ce-specversion", b"1.0"), ("ce-id", b"1")),
    ),
    Bad("no CloudEvent", b'{"amount": "12.50"}', "specversion", "missing"),
    Bad("data in base64", encoded(data=None, data_base64="e30="), "data_base64", "send JSON"),
    Bad("data is Avro", encoded(datacontenttype="application/avro"), "datacontenttype", "avro"),
    Bad(
        "a batch in one record",
        b"[]",
        "content-type",
        "cloudevents-batch",
        (("content-type", b"application/cloudevents-batch+json"),),
    ),
    Bad("binary: no id", b"{}", "id", "missing", binary_headers(id=None)),
    Bad(
        "binary: header not UTF-8",
        b"{}",
        "subject",
        "not UTF-8",
        (*binary_headers(subject=None), ("ce_subject", b"\xff")),
    ),
    Bad(
        "binary: header twice",
        b"{}",
        "subject",
        "twice",
        (*binary_headers(), ("ce_subject", b"other")),
    ),
    Bad(
        "binary: NUL in a header",
        b"{}",
        "id",
        "NUL",
        (*binary_headers(id=None), ("ce_id", b"a\0")),
    ),
    Bad(
        "binary: field twice",
        b'{"amount": "1", "amount": "2"}',
        "data.amount",
        "twice",
        binary_headers(),
    ),
    Bad(
        "import without a name",
        encoded(),
        "ebbwatch-backfill",
        "1 to 256",
        (("ebbwatch-backfill", b""),),
    ),
    # Meaning.
    Bad(
        "unknown currency", purchase(amount="1", currency="XAU"), "data.currency", "no rate of XAU"
    ),
    Bad("malformed currency", purchase(currency="usd"), "data.currency", "ISO 4217"),
    Bad(
        "score above 10",
        encoded(type=types.FEEDBACK, data={"kind": "survey", "score": 11}),
        "data.score",
        "<= 10",
    ),
    Bad(
        "contract of no known kind",
        encoded(type=types.CONTRACT, data={"kind": "paused"}),
        "data.kind",
        "paused",
    ),
    Bad(
        "feedback of no known kind",
        encoded(type=types.FEEDBACK, data={"kind": "shrug"}),
        "data.kind",
        "shrug",
    ),
    Bad(
        "interaction without kind", encoded(type=types.INTERACTION, data={}), "data.kind", "missing"
    ),
    Bad(
        "a day that is none",
        encoded(type=types.PROFILE, data={"birthday": "2001-02-30"}),
        "data.birthday",
        "date",
    ),
    Bad("tick without time", encoded(type=types.TICK, time=None, subject=None), "time", "missing"),
)

BAD_BY_ARRIVAL = (
    Bad("a typing error of a year", encoded(time="2027-03-01T08:30:00Z"), "time", "364 days"),
    Bad("local time sent as UTC", encoded(time="2026-03-01T17:00:00Z"), "time", "a local time"),
)
"""Bad only if it arrived at `ARRIVED_MS`."""
