"""Unpacks fetched batches safely: an unreadable record affects only itself.

The library decompresses a batch without a bound: a record of 30 GB is 1 MB on the wire. Where it
cannot read a record (a header name that is not UTF-8) it fails on all that it fetched, again after
each restart. Here a batch has a bound, and what cannot be read becomes an `Unread` record at its
place, which decoders refuse like any other bad record.
"""

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import aiokafka.record._crecords.default_records as compiled
import aiokafka.record.default_records as plain
import cramjam
import structlog
from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException

BATCH_BYTES_MAX: Final = 64 * 1024 * 1024
"""Bytes of a decompressed batch: sixteen times the largest record that a topic accepts. A sender's
batches have 1 MB before compression at most, unless configured otherwise."""

RATIO: Final = 16
"""Usual largest expansion of a batch: the first guess of its size, multiplied while too small."""

UNREAD: Final = "ebbwatch-unread"
"""Header of an `Unread` record with the reason."""

UNREADABLE: Final = (
    *(ValueError, ArithmeticError, LookupError, EOFError),
    *(zlib.error, cramjam.DecompressionError),
)
"""What the library and its codecs raise for bytes that they cannot read."""

log = structlog.get_logger(__name__)


class TooLarge(ValueError):  # noqa: N818
    """A batch that is larger than `BATCH_BYTES_MAX` once decompressed."""

    def __init__(self) -> None:
        super().__init__(f"its batch has more than {BATCH_BYTES_MAX:,} bytes once decompressed")


@dataclass(frozen=True, slots=True)
class Unread:
    """Stands for a record that the client library cannot read, in the shape of one."""

    topic: str
    partition: int
    offset: int
    headers: tuple[tuple[str, bytes | None], ...]
    timestamp: int = 0
    key: bytes | None = None
    value: bytes | None = b""
    """Not None, which would mean a deletion in a compacted topic."""

    @property
    def reason(self) -> str:
        """The reason why it could not be read."""
        return (self.headers[0][1] or b"").decode()


def install_safe_unpacking() -> None:
    """Installs this unpacking for every consumer of the process. Idempotent."""
    for module in (compiled, plain):
        for name, decode in _DECODERS.items():
            setattr(module, name, decode)
    fetcher.PartitionRecords = SafePartitionRecords


class SafePartitionRecords(fetcher.PartitionRecords):  # type: ignore[misc] # aiokafka is untyped
    """The library's class, but with each batch read by itself."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._records: Any = _Batches(self._records, self)

    def _consumer_record(self, tp: Any, record: Any) -> Any:
        return record if isinstance(record, Unread) else super()._consumer_record(tp, record)

    def unread(self, reason: str) -> Unread:
        """Return a placeholder for the next record."""
        topic, partition = self._tp
        headers = ((UNREAD, reason.encode("utf-8", "replace")),)
        return Unread(topic, partition, self.next_fetch_offset, headers)

    def reason(self, error: Exception) -> str:
        """Return why the next record cannot be read; logged once for a batch."""
        reason = str(error) or type(error).__name__
        log.error(
            "record cannot be read",
            tp=tuple(self._tp),
            offset=self.next_fetch_offset,
            reason=reason,
        )
        return reason


class _Batches:
    """The fetched batches, each of which can stop in the middle."""

    def __init__(self, inner: Any, owner: SafePartitionRecords) -> None:
        self._inner = inner
        self._owner = owner

    def has_next(self) -> bool:
        """As in the library."""
        return bool(self._inner.has_next())

    def next_batch(self) -> "_Batch":
        """As in the library."""
        return _Batch(self._inner.next_batch(), self._owner)


class _Batch:
    """A batch that yields an `Unread` for each record that cannot be read.

    Where the batch is too large it is a single one, since the number of records is unknown.
    """

    def __init__(self, inner: Any, owner: SafePartitionRecords) -> None:
        self._inner = inner
        self._owner = owner
        self._iterator: Iterator[Any] | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def __next__(self) -> Any:
        if self._iterator is None:
            self._iterator = iter(self)
        return next(self._iterator)

    def __iter__(self) -> Iterator[Any]:
        try:
            yield from self._inner
        except CorruptRecordException:
            raise  # damaged in transit: fetched again
        except TooLarge as error:
            yield self._owner.unread(self._owner.reason(error))
        except UNREADABLE as error:
            reason = self._owner.reason(error)
            while self._owner.next_fetch_offset < self._inner.next_offset:
                yield self._owner.unread(reason)


def _gzip(payload: Any) -> bytes:
    """Decompresses gzip of one or more members."""
    rest, parts, room = bytes(payload), list[bytes](), BATCH_BYTES_MAX
    while rest:
        member = zlib.decompressobj(zlib.MAX_WBITS | 16)
        parts.append(member.decompress(rest, room + 1))
        room -= len(parts[-1])
        if room < 0:
            raise TooLarge
        if not member.eof:
            raise EOFError("its batch ends early")
        rest = member.unused_data
    return b"".join(parts)


def _bounded(decompress_into: Callable[[Any, Any], int]) -> Callable[[Any], bytes]:
    """Wraps a codec that writes into a buffer of ours, which grows up to the bound."""

    def decode(payload: Any) -> bytes:
        size = min(BATCH_BYTES_MAX, RATIO * len(payload) + 1024)
        while True:
            buffer = bytearray(size)
            try:
                return bytes(memoryview(buffer)[: decompress_into(payload, buffer)])
            except cramjam.DecompressionError:
                if size == BATCH_BYTES_MAX:
                    raise TooLarge from None
                size = min(BATCH_BYTES_MAX, RATIO * size)

    return decode


_DECODERS: Final[dict[str, Callable[[Any], bytes]]] = {
    "gzip_decode": _gzip,
    "lz4_decode": _bounded(cramjam.lz4.decompress_into),
    "zstd_decode": _bounded(cramjam.zstd.decompress_into),
}
"""Decoders by their names in the library. Snappy's are unchanged: it shrinks to a twentieth at
most, and the topic bounds what comes over the wire."""
