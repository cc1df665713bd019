"""Use case: decodes the records of a batch that name a schema of a registry.

What is decoded is JSON, and goes on as if it had come so. A schema never changes, so it is asked
for once. While the registry does not answer, the records wait; one that names a schema which the
registry does not have, or that is not of its schema, is refused.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from services.ingest.core.faults import WHOLE, fault
from services.ingest.core.framing.avro_schema import Unsafe
from services.ingest.core.framing.frame import Frame, SchemaKey, frame_of
from services.ingest.core.framing.schemas import (
    ANSWER_BYTES_MAX,
    PROTOBUF,
    REFERENCE_DEPTH_MAX,
    REFERENCES_MAX,
    Decoder,
    Reference,
    RegisteredSchema,
    make_decoder,
    named,
)
from services.ingest.core.message import present
from services.ingest.ports import SchemaSource, Unreadable
from shared.contracts import headers as names
from shared.contracts.dead_letter import Headers
from shared.kafka.batch import ConsumedRecord
from shared.kernel.errors import Invalid, Transient
from shared.runtime.backoff import LONGEST_S
from shared.runtime.clock import Clock

SCHEMAS_MAX: Final = 500
"""Schemas that are kept with their decoders, those that were used last; 10 to 100 KB each."""

REFUSED_MAX: Final = 10_000
"""Schemas that are known to be absent or unusable; some hundred bytes each."""

REFUSED_S: Final = 30.0
"""Seconds until the registry is asked again for such a schema: it may be registered late, or the
registry may have learnt its type."""

LOAD_S: Final = 20.0
"""Seconds that the schemas of 100 records may take; then the batch waits like after an outage."""

_SILENT_S: Final = 2 * (LOAD_S + LONGEST_S)
"""Seconds without a further try after which no record waits for the registry any more."""

V = TypeVar("V")

_JSON: Final = b"application/json"
_STRUCTURED: Final = names.CLOUDEVENTS_JSON.encode()


@dataclass(slots=True)
class Opened:
    """A record with its decoded value, as JSON."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers


Content = ConsumedRecord | Invalid
"""The record itself, or with its decoded value; or why it cannot be decoded."""


class OpenFrames:
    """One per process."""

    def __init__(
        self, registry: SchemaSource | None, clock: Clock, topics: Collection[str] = ()
    ) -> None:
        """`registry`: None where there is none; then every record goes on as it is.

        `topics`: those with framed records only; without any, each record is looked at.
        """
        self._registry = registry
        self._clock = clock
        self._topics = frozenset(topics)
        self._decoders: OrderedDict[SchemaKey, Decoder] = OrderedDict()
        self._refused: OrderedDict[SchemaKey, tuple[float, Invalid]] = OrderedDict()
        """Until when, in monotonic seconds, and why."""
        self._trouble: tuple[float, str] | None = None

    async def __call__(self, records: Sequence[ConsumedRecord]) -> list[Content]:
        """Return each record's content, in order; raises Transient while the registry is away.

        `records`: at most some hundred; their decoders are in memory at once.
        """
        if self._registry is None:
            return list(records)
        frames = [self._frame(record) for record in records]
        keys = {frame.schema for frame in frames if isinstance(frame, Frame)}
        decoders = await self._load(self._registry, keys) if keys else {}
        return [
            _opened(record, frame, decoders[frame.schema])
            if isinstance(frame, Frame)
            else frame or record
            for record, frame in zip(records, frames, strict=True)
        ]

    async def trouble(self) -> str | None:
        """Return why records wait for the registry; None where none do."""
        if self._trouble is None or self._clock.monotonic() - self._trouble[0] > _SILENT_S:
            return None
        return self._trouble[1]

    def _frame(self, record: ConsumedRecord) -> Frame | Invalid | None:
        """Return a record's frame, None where it has none, or why it is refused."""
        if isinstance(record, Unreadable) or record.value is None:
            return None
        if self._topics and record.topic not in self._topics:
            return None
        try:
            found = frame_of(record.value, record.headers)
            if found is not None:
                present(record.value)
            elif self._topics:
                raise fault(WHOLE, "names no schema, as all records of this topic must")
        except Invalid as refusal:
            return refusal
        return found

    async def _load(
        self, registry: SchemaSource, keys: Collection[SchemaKey]
    ) -> Mapping[SchemaKey, Decoder | Invalid]:
        """Return the decoder of each schema, or why there is none; raises Transient."""
        now_s = self._clock.monotonic()
        found: dict[SchemaKey, Decoder | Invalid] = {}
        for key in keys:
            if key in self._decoders:
                self._decoders.move_to_end(key)
                found[key] = self._decoders[key]
            elif key in self._refused and self._refused[key][0] > now_s:
                found[key] = self._refused[key][1]
        new = [key for key in keys if key not in found]
        if not new:
            return found
        try:
            async with asyncio.timeout(LOAD_S):
                made = await asyncio.gather(
                    *(self._made(registry, key) for key in new), return_exceptions=True
                )
        except TimeoutError as error:
            raise self._away(f"{len(new)} schemas took longer than {LOAD_S:.0f} s") from error
        for key, each in zip(new, made, strict=True):
            if isinstance(each, Invalid):
                _put(self._refused, key, (now_s + REFUSED_S, each), REFUSED_MAX)
                found[key] = each
            elif not isinstance(each, BaseException):
                _put(self._decoders, key, each, SCHEMAS_MAX)
                self._refused.pop(key, None)
                found[key] = each
        for failure in made:
            if isinstance(failure, Transient):
                raise self._away(str(failure)) from failure
            if isinstance(failure, BaseException) and not isinstance(failure, Invalid):
                raise failure
        self._trouble = None
        return found

    def _away(self, why: str) -> Transient:
        self._trouble = (self._clock.monotonic(), f"records wait: {why}")
        return Transient(why)

    async def _made(self, registry: SchemaSource, key: SchemaKey) -> Decoder:
        schema = await registry.schema(key)
        try:
            return make_decoder(schema, await _references(registry, schema))
        except Unsafe as error:
            raise fault(WHOLE, f"{named(key)} cannot be used: {error}") from error
        except Invalid as error:
            raise fault(WHOLE, f"{named(key)}, its references: {error.reason}") from error


async def _references(registry: SchemaSource, schema: RegisteredSchema) -> dict[str, str]:
    """Returns the schemas that one refers to, by name, those that others need first."""
    found: dict[str, str] = {}
    serialized = schema.type == PROTOBUF
    size = len(schema.schema)

    async def add(references: Sequence[Reference] | None, depth: int) -> None:
        nonlocal size
        if references and depth > REFERENCE_DEPTH_MAX:
            raise Unsafe(f"its references are deeper than {REFERENCE_DEPTH_MAX}")
        for each in references or ():
            if each.name in begun:
                continue
            if len(begun) >= REFERENCES_MAX:
                raise Unsafe(f"more than {REFERENCES_MAX} references")
            begun.add(each.name)
            other = await registry.version(each, serialized=serialized)
            size += len(other.schema)
            if size > ANSWER_BYTES_MAX:
                raise Unsafe(f"with its references it has more than {ANSWER_BYTES_MAX:,} bytes")
            await add(other.references, depth + 1)
            found[each.name] = other.schema

    begun: set[str] = set()
    await add(schema.references, 1)
    return found


def _opened(record: ConsumedRecord, frame: Frame, decoder: Decoder | Invalid) -> Content:
    """Returns a record with its decoded value, or why it has none."""
    if isinstance(decoder, Invalid):
        return decoder
    try:
        value = decoder(frame)
    except ValueError as error:
        return fault(WHOLE, f"not of {named(frame.schema)}: {error}")
    return Opened(
        record.topic,
        record.partition,
        record.offset,
        record.timestamp,
        record.key,
        value,
        tuple(_header(*header) for header in record.headers),
    )


def _header(name: str, value: bytes | None) -> tuple[str, bytes | None]:
    """Returns a header; a content type becomes that of the decoded value."""
    if name != names.CONTENT_TYPE:
        return name, value
    structured = (value or b"").lower().startswith(b"application/cloudevents")
    return name, _STRUCTURED if structured else _JSON


def _put(kept: OrderedDict[SchemaKey, V], key: SchemaKey, value: V, count_max: int) -> None:
    """Adds an entry, and drops the oldest beyond the bound."""
    kept[key] = value
    kept.move_to_end(key)
    while len(kept) > count_max:
        kept.popitem(last=False)
