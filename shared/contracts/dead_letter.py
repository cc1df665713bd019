"""`ebbwatch.dead-letter`: records that could not be accepted, whole, with the reason.

Value: the original bytes unchanged, unless they exceed what our topics accept. Key: the original
key. Everything else is in headers, so that the record can be replayed unchanged.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Protocol, Self

from shared.contracts import headers
from shared.contracts.topics import RAW_MESSAGE_BYTES_MAX

Headers = tuple[tuple[str, bytes | None], ...]

BYTES_MAX: Final = RAW_MESSAGE_BYTES_MAX
"""Bytes of a dead letter's key, value and headers together: the largest record that the raw topic
accepts. Decompressed, one can be a thousand times as large; no topic would accept it again, and
its partition would be stuck for good."""

HEADERS_KEPT_MAX: Final = 10_000
"""Headers of a refused record that its dead letter keeps. Each grows by a prefix, and all must
still fit the dead-letter topic; the largest real records have some dozens."""

TEXT_CHARS_MAX: Final = 2_000
"""Characters of a field's path or of a reason: they may quote the sender's content."""


class ConsumedRecord(Protocol):
    """The fields that we read of a consumed Kafka record; `timestamp`: Unix milliseconds."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Headers: ...


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a record first arrived; unique for ever within one cluster."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}/{self.offset}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `topic/partition/offset`; raises ValueError on anything else."""
        topic, partition, offset = text.rsplit("/", 2)
        return cls(topic, int(partition), int(offset))


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A refused record and why. `stage` is the service that refused it."""

    key: bytes | None
    value: bytes | None
    original_headers: Headers
    origin: Origin
    stage: str
    field: str
    reason: str
    arrived_ms: int | None = None
    """Unix ms at which the record arrived, by its topic; None: not known."""

    @classmethod
    def of(cls, record: ConsumedRecord, stage: str, field: str, reason: str) -> Self:
        """Return the dead letter of a consumed record, cut to what can be sent; the reason notes a
        cut."""
        key, value = record.key, record.value
        if key is None and value is None:
            key = b""  # the client library reads such a record, but refuses to send one
        whole = len(key or b"") + len(value or b"")
        key = None if key is None else key[:BYTES_MAX]
        value = None if value is None else value[: BYTES_MAX - len(key or b"")]
        room = BYTES_MAX - len(key or b"") - len(value or b"")
        kept = tuple(_fitting(record.headers, room))
        reason = reason[:TEXT_CHARS_MAX]
        if whole > BYTES_MAX:
            reason += f" (of {whole:,} bytes the first {BYTES_MAX:,} are kept)"
        if len(kept) < len(record.headers):
            reason += f" (of {len(record.headers):,} headers the first {len(kept):,} are kept)"
        return cls(
            key=key,
            value=value,
            original_headers=kept,
            origin=Origin(record.topic, record.partition, record.offset),
            stage=stage,
            field=field[:TEXT_CHARS_MAX],
            reason=reason,
            arrived_ms=record.timestamp if record.timestamp > 0 else None,
        )

    def to_headers(self) -> Headers:
        """Return the Kafka headers of this dead letter."""
        facts: tuple[tuple[str, bytes], ...] = (
            (headers.DEAD_STAGE, self.stage.encode()),
            (headers.DEAD_FIELD, self.field.encode()),
            (headers.DEAD_REASON, self.reason.encode()),
            (headers.DEAD_ORIGIN, str(self.origin).encode()),
        )
        if self.arrived_ms is not None:
            facts += ((headers.ARRIVED, b"%d" % self.arrived_ms),)
        kept = tuple((headers.DEAD_HEADER_PREFIX + k, v) for k, v in self.original_headers)
        return facts + kept

    @classmethod
    def from_record(cls, key: bytes | None, value: bytes | None, record_headers: Headers) -> Self:
        """Rebuild from a record of the dead-letter topic; KeyError or ValueError if not one."""
        found = {name: said for name, said in record_headers if said is not None}
        prefix = headers.DEAD_HEADER_PREFIX
        return cls(
            key=key,
            value=value,
            original_headers=tuple(
                (k.removeprefix(prefix), v) for k, v in record_headers if k.startswith(prefix)
            ),
            origin=Origin.parse(found[headers.DEAD_ORIGIN].decode()),
            stage=found[headers.DEAD_STAGE].decode(),
            field=found[headers.DEAD_FIELD].decode(),
            reason=found[headers.DEAD_REASON].decode(),
            arrived_ms=int(arrived) if (arrived := found.get(headers.ARRIVED)) else None,
        )


def _fitting(given: Headers, room: int) -> Iterator[tuple[str, bytes | None]]:
    """Yields the first headers that fit into `room` bytes."""
    for name, value in given[:HEADERS_KEPT_MAX]:
        room -= len(name.encode()) + len(value or b"")
        if room < 0:
            return
        yield name, value
