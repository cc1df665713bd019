"""Hostile input, reproducible from a seed: texts, bodies, requests, records."""

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from shared.contracts import topics
from tests.hostile.samples import CHANGED, EVENTS, RISKS, TREATED
from tests.unit.ingest.events import BAD, encoded, event

EVENTS_PATH: Final = "/v1/events"

SAMPLES: Final = {
    topics.ACTIVITY.name: EVENTS,
    topics.RISK.name: RISKS,
    topics.CHANGES.name: CHANGED,
    topics.TREATMENT.name: TREATED,
}
"""Good messages by topic."""

TEXTS: Final = (
    "", " ", "\0", "a\0b", "\ud800", "\udfff\ud800", "undefined", "null", "[object Object]", "NaN",
    "\u200b", "\ufeff", "x" * 300, "x" * 10_000, "客" * 256, "\U00020000" * 256, "../../etc/passwd",
    "America", "US", "Asia/Shanghai", "{{ 7*7 }}", "{{ '{x}'.format(1) }}", "'; DROP TABLE x; --",
    "<script>", "=HYPERLINK(0)", "\x1b[31m", "a\nb", "%00", "%", "1e999", "-1", "9" * 5_000,
    "0x" + "f" * 400,
    "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2016-12-31T23:59:60Z", "2026-02-30",
    "2026-03-01T09:00:00", "2026-03-01T09:00:00Z", "MC4xIGE=", "bmFuIGE=", "AAAA", "true", "12.50",
    "59.900000000000006", r"'\ud800'.matches('a')", "(" * 900, "purchases > 1", "high", "en",
    "open",
)  # fmt: skip

VALUES: Final[tuple[Any, ...]] = (
    *TEXTS, None, True, False, 0, -1, 1, 2**31, 2**63, 10**40, -(10**40), 0.5, 1e308, [], {}, [[]],
    [None] * 50, {"a": {"b": {"c": 1}}}, {"\0": 1}, {"": ""}, ["\ud800"], {"x" * 5_000: "y"},
)  # fmt: skip

BODIES: Final = (
    b"", b"{", b"[]", b"null", b"1", b'"x"', b"{}{}", b"{}\n{}", b"\x00", b"\xff\xfe{",
    b"\xef\xbb\xbf{}",
    b"\x1f\x8b\x08\x00", b"<xml/>", b"a=b&c=d", b"[" * 20_000, b'{"a":' * 20_000, b"9" * 5_000,
    b'{"a": NaN}', b'{"a": 1e999}', rb'{"a": "\u0000"}', rb'{"a": "\ud800"}',
    b'{"a": ' + b"9" * 5_000 + b"}",
    b'{"id": 820982911946154508, "email": "a@b.example"}', b'{"a": 1, "a": 2}', b" " * 100_000,
    b"[" + b"1," * 50_000 + b"1]", b'{"a": "' + b"x" * 900_000 + b'"}', b"x" * 1_200_000,
)  # fmt: skip

MEDIA: Final = (
    "application/json", "application/json; charset=utf-16", "text/plain", "application/x-ndjson",
    "application/cloudevents+json", "application/cloudevents-batch+json", "application/xml",
    "multipart/form-data; boundary=x", "application/x-www-form-urlencoded", "",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Hostile:
    """One request."""

    method: str
    path: str
    """With its query, as it goes over the wire."""
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class HostileRecord:
    """One record of a topic."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()


class Maker:
    """Makes hostile input from a seed."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)  # noqa: S311 (not a secret)

    def text(self) -> str:
        """Return any hostile text, or a few of its characters."""
        found = self.dice.choice(TEXTS)
        return found if self.dice.random() < 0.8 else found[:5] + self.dice.choice(TEXTS)[:5]

    def quoted(self, text: str) -> str:
        """Return a part of a path or query: escaped, half escaped, or bytes that are not UTF-8."""
        raw = text.encode("utf-8", "surrogatepass")[:3_000]
        if self.dice.random() < 0.1:
            raw += bytes([self.dice.randrange(128, 256)])
        return "".join(chr(b) if chr(b).isalnum() and b < 128 else f"%{b:02x}" for b in raw)

    def value(self, schema: dict[str, Any], schemas: dict[str, Any], depth: int = 0) -> Any:
        """Return a value roughly as the schema requires, with hostile parts."""
        if depth > 6 or self.dice.random() < 0.12:
            return self.dice.choice(VALUES)
        if "$ref" in schema:
            return self.value(schemas[schema["$ref"].rpartition("/")[2]], schemas, depth)
        if options := schema.get("anyOf") or schema.get("oneOf"):
            return self.value(self.dice.choice(options), schemas, depth)
        if "enum" in schema:
            return self.dice.choice(schema["enum"])
        if "const" in schema:
            return schema["const"]
        return self._of_type(schema, schemas, depth)

    def _of_type(self, schema: dict[str, Any], schemas: dict[str, Any], depth: int) -> Any:
        kind = schema.get("type")
        if kind == "object":
            known = schema.get("properties", {})
            found = {
                name: self.value(inner, schemas, depth + 1)
                for name, inner in known.items()
                if self.dice.random() < 0.8
            }
            if self.dice.random() < 0.1:
                found[self.text()] = self.dice.choice(VALUES)
            return found
        if kind == "array":
            count = self.dice.choice((0, 1, 2, 40))
            return [self.value(schema.get("items", {}), schemas, depth + 1) for _ in range(count)]
        if kind == "integer":
            return self.dice.choice((0, 1, -1, 50, 2**31, 2**63, 10**30))
        if kind == "number":
            return self.dice.choice((0.0, 0.5, -1.0, 1e308, 5e-324))
        if kind == "boolean":
            return self.dice.random() < 0.5
        return self.text()

    def body(self, path: str, operation: dict[str, Any], schemas: dict[str, Any]) -> bytes:
        """Return the body of a request to this operation."""
        if path == EVENTS_PATH and self.dice.random() < 0.6:
            events = [encoded(**self._changes()) for _ in range(self.dice.choice((1, 1, 3, 40)))]
            return events[0] if len(events) == 1 else b"[" + b",".join(events) + b"]"
        if self.dice.random() < 0.35:
            return self.dice.choice(BODIES)
        content = operation.get("requestBody", {}).get("content", {})
        first: dict[str, Any] = next(iter(content.values()), {})
        schema = first.get("schema", {})
        made = self.value(schema, schemas)
        text = json.dumps(made, ensure_ascii=self.dice.random() < 0.7)
        return text.encode("utf-8", "surrogatepass")

    def requests(self, document: dict[str, Any], token: str, count: int) -> Iterator[Hostile]:
        """Yield requests to every operation in turn; mostly with a token that has all rights."""
        schemas = document["components"]["schemas"]
        operations = [
            (method.upper(), path, operation)
            for path, methods in sorted(document["paths"].items())
            for method, operation in sorted(methods.items())
        ]
        for number in range(count):
            method, path, operation = operations[number % len(operations)]
            if self.dice.random() < 0.05:
                method = self.dice.choice(
                    ("GET", "POST", "PUT", "DELETE", "PATCH", "TRACE", "HEAD")
                )
            for part in [p for p in path.split("/") if p.startswith("{")]:
                path = path.replace(part, self.quoted(self.text()))
            yield Hostile(
                method,
                path + self._query(operation),
                self._headers(token),
                self.body(path, operation, schemas) if method in {"POST", "PUT", "PATCH"} else b"",
            )

    def _query(self, operation: dict[str, Any]) -> str:
        names = [p["name"] for p in operation.get("parameters", ()) if p["in"] == "query"]
        names += ["x", "a%00"] if self.dice.random() < 0.05 else []
        pairs = [
            f"{name}={self.quoted(self.text())[:6_000]}"
            for name in names
            if self.dice.random() < 0.3
        ]
        return "?" + "&".join(pairs) if pairs else ""

    def _headers(self, token: str) -> dict[str, str]:
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        if self.dice.random() < 0.1:
            headers["Content-Type"] = self.dice.choice(MEDIA)
        if self.dice.random() < 0.03:
            headers["Authorization"] = self.dice.choice(("", "Bearer", "Bearer x", "Basic eDp4"))
        if self.dice.random() < 0.03:
            headers["Content-Encoding"] = self.dice.choice(("gzip", "br", "x"))
        if self.dice.random() < 0.1:
            headers["Idempotency-Key"] = self.dice.choice(("k", "x" * 200, "x" * 300, "ü"))
        if self.dice.random() < 0.03:
            headers["Host"] = "evil.example"
        return headers

    def records(self, names: tuple[str, ...], count: int) -> Iterator[HostileRecord]:
        """Yield records for the raw topic and those between the services, in turn."""
        known = [(bad.value, bad.headers) for bad in BAD if len(bad.value or b"") < 1_000_000]
        for number in range(count):
            topic = names[number % len(names)]
            luck = self.dice.random()
            if luck < 0.15:
                value, headers = self.dice.choice(known)
                yield HostileRecord(topic, b"k", value, headers)
            elif luck < 0.3:
                yield HostileRecord(topic, self.dice.choice((None, b"", b"k")), self._damaged())
            elif luck < 0.6 and topic in SAMPLES:
                yield HostileRecord(topic, b"k", self._changed(self.dice.choice(SAMPLES[topic])))
            else:
                yield HostileRecord(topic, b"k", encoded(**self._changes()))

    def _changes(self) -> dict[str, Any]:
        """Return attributes of an event, replaced by hostile values."""
        return {
            self.dice.choice((*event(), "data_base64", "x")): self.dice.choice(VALUES)
            for _ in range(self.dice.randrange(1, 4))
        }

    def _changed(self, sample: bytes) -> bytes:
        """Return a good message with one or two of its parts replaced."""
        document = json.loads(sample)
        for _ in range(self.dice.randrange(1, 3)):
            place = self.dice.choice(sorted(document))
            inner = document[place]
            if isinstance(inner, dict) and inner and self.dice.random() < 0.5:
                inner[self.dice.choice(sorted(inner))] = self.dice.choice(VALUES)
            else:
                document[place] = self.dice.choice(VALUES)
        return json.dumps(document).encode()

    def _damaged(self) -> bytes:
        """Return a good event with some bytes of it overwritten."""
        value = encoded()
        at = self.dice.randrange(len(value))
        return value[:at] + self.dice.randbytes(self.dice.randrange(1, 5)) + value[at + 3 :]
