"""A careless or malicious sender's batches: what our own producer would never send."""

from collections.abc import Sequence

from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy

Sent = tuple[bytes | None, Sequence[tuple[str, bytes | None]]]
"""Value and headers of a record."""

CODECS = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}


class NotUtf8(str):
    """The name of a header as a careless client would write it."""

    __slots__ = ()

    def encode(self, *_: object) -> bytes:
        """Other bytes than the library would write."""
        return b"\xff\xfe"


BAD_NAME = [(NotUtf8("x"), b"y")]


def builder(records: Sequence[Sent], codec: str = "none") -> _DefaultRecordBatchBuilderPy:
    """A batch that holds these, without a bound, ready to be sent or read."""
    made = _DefaultRecordBatchBuilderPy(2, CODECS[codec], 0, -1, -1, 0, 2**31 - 1)
    for offset, (value, headers) in enumerate(records):
        made.append(offset, timestamp=1, key=b"k", value=value, headers=list(headers))
    return made
