"""A record that the client library cannot read affects only itself; all others come, in order."""

from collections.abc import Sequence

import aiokafka.record._crecords.default_records as compiled
import pytest
from aiokafka import TopicPartition
from aiokafka.consumer import fetcher
from aiokafka.record.memory_records import MemoryRecords
from hypothesis import given
from hypothesis import strategies as st

from shared.kafka import unpacking
from shared.kafka.unpacking import (
    BATCH_BYTES_MAX,
    SafePartitionRecords,
    Unread,
    install_safe_unpacking,
)
from tests.fakes.unchecked_batches import BAD_NAME, CODECS, Sent, builder

TP = TopicPartition("t", 0)
GOOD: Sent = (b"good", ())
BAD: Sent = (b"bad", BAD_NAME)
BATCHES = st.lists(
    st.tuples(st.lists(st.booleans(), min_size=1, max_size=6), st.sampled_from(sorted(CODECS))),
    min_size=1,
    max_size=5,
)


def unpacked(
    batches: Sequence[tuple[Sequence[Sent], str]], begin: int = 0
) -> list[tuple[int, str]]:
    """Return offset and value, or `unread`, of the records of these batches from `begin` on."""
    install_safe_unpacking()
    data, base = b"", 0
    for records, codec in batches:
        one = bytearray(builder(records, codec).build())
        one[:8] = base.to_bytes(8)  # as the broker does
        data, base = data + bytes(one), base + len(records)
    found = SafePartitionRecords(TP, MemoryRecords(data), [], begin, None, None, True, 0)
    reported = [
        (each.offset, "unread" if isinstance(each, Unread) else each.value.decode())
        for each in found
    ]
    assert found.next_fetch_offset == base
    return reported


@given(batches=BATCHES, skipped=st.integers(0, 8))
def test_records_before_the_first_bad_one_are_read(
    batches: list[tuple[list[bool], str]], skipped: int
) -> None:
    """Of each batch the records before its first bad one are read, and every offset is named."""
    expected, offset = [], 0
    for goods, _ in batches:
        for at, _good in enumerate(goods):
            expected.append((offset, "good" if all(goods[: at + 1]) else "unread"))
            offset += 1
    skipped = min(skipped, len(batches[0][0]) - 1)  # a broker hands out no batch before that
    sent = [([GOOD if good else BAD for good in goods], codec) for goods, codec in batches]
    assert unpacked(sent, skipped) == expected[skipped:]


@pytest.mark.parametrize("codec", ["gzip", "lz4", "zstd"])
def test_a_batch_that_becomes_too_large(codec: str) -> None:
    """One mark stands for the whole batch; what is before and behind it is read."""
    bomb: Sent = (b" " * (BATCH_BYTES_MAX + 1), ())
    reported = unpacked([([GOOD], codec), ([GOOD, bomb, GOOD], codec), ([GOOD], "none")])
    assert reported == [(0, "good"), (1, "unread"), (4, "good")]


@pytest.mark.parametrize("codec", sorted(CODECS))
@pytest.mark.parametrize("size", [0, 1, 1_000, 5_000_000])
def test_what_fits_is_read_as_it_is(codec: str, size: int) -> None:
    """This includes what is compressed to a thousandth."""
    install_safe_unpacking()
    value = b"ab" * size
    (batch,) = [MemoryRecords(bytes(builder([(value, ())], codec).build())).next_batch()]
    assert [record.value for record in batch] == [value]


def test_the_library_is_as_it_was_when_this_was_written() -> None:
    """The replaced parts exist, with the same names and uses as before."""
    install_safe_unpacking()
    assert fetcher.PartitionRecords is SafePartitionRecords
    for name, decode in unpacking._DECODERS.items():
        assert getattr(compiled, name) is decode
