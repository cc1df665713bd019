"""A key's partition is the one that every Kafka client chooses."""

import numpy as np
import pytest
from aiokafka.partitioner import DefaultPartitioner
from hypothesis import given
from hypothesis import strategies as st

from shared.kafka.partitions import murmur2, partitions_of

SMALL = st.binary(max_size=40)


@pytest.mark.parametrize(
    ("key", "hashed"),
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_keys_hash_as_in_apache_kafka(key: bytes, hashed: int) -> None:
    """Uses the vectors of Apache Kafka's own `UtilsTest.testMurmur2`."""
    assert murmur2([key], len(key)).view(np.int32).tolist() == [hashed]


@given(st.lists(SMALL, max_size=60), st.integers(1, 100))
def test_keys_are_placed_as_by_the_client_library(keys: list[bytes], partitions: int) -> None:
    """Holds for keys of any length in any order."""
    one = DefaultPartitioner()
    known = list(range(partitions))
    assert partitions_of(keys, partitions) == [one(key, known, known) for key in keys]
