"""`ebbwatch.dead-letter`: what could not be accepted, whole, with the reason.

Value: the original bytes untouched. Key: the original key. Everything else is in headers,
so that the record can be replayed as it came.
"""

from dataclasses import dataclass
from typing import Self

from shared.contracts import headers

Headers = tuple[tuple[str, bytes], ...]


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a record first came in; unique for ever within one cluster."""

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

    def to_headers(self) -> Headers:
        """The Kafka headers of this dead letter."""
        facts = (
            (headers.DEAD_STAGE, self.stage.encode()),
            (headers.DEAD_FIELD, self.field.encode()),
            (headers.DEAD_REASON, self.reason.encode()),
            (headers.DEAD_ORIGIN, str(self.origin).encode()),
        )
        kept = tuple((headers.DEAD_HEADER_PREFIX + k, v) for k, v in self.original_headers)
        return facts + kept

    @classmethod
    def from_record(cls, key: bytes | None, value: bytes | None, record_headers: Headers) -> Self:
        """Rebuild from a record of the dead-letter topic; raises KeyError if not one."""
        found = dict(record_headers)
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
        )
