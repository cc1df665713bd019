"""Computes the partitions of keys with murmur2, as every Kafka client does, a batch at a time.

The client library's own hash goes byte by byte in Python and took longer than writing the record.
MurmurHash2, 32 bits, by Austin Appleby (public domain), with the seed and the sign rule of Apache
Kafka's `Utils.murmur2` and `Utils.toPositive`.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint32]

SEED: Final = 0x9747B28C
MULTIPLIER: Final = np.uint32(0x5BD1E995)
WORD: Final = 4
"""Bytes mixed at once."""


def partitions_of(keys: Sequence[bytes], partitions: int) -> list[int]:
    """Returns the partition of each key, from 0 to `partitions` - 1.

    >>> partitions_of([b"kafka", b""], 6)
    [4, 3]
    """
    by_length: defaultdict[int, list[int]] = defaultdict(list)
    for place, key in enumerate(keys):
        by_length[len(key)].append(place)
    hashes = np.empty(len(keys), np.uint32)
    for length, places in by_length.items():
        hashes[places] = murmur2([keys[place] for place in places], length)
    found: list[int] = ((hashes & np.uint32(0x7FFFFFFF)) % np.uint32(partitions)).tolist()
    return found


def murmur2(keys: Sequence[bytes], length: int) -> Hashes:
    """Returns the hash of each key; all have this length. Arithmetic modulo 2^32."""
    key = np.frombuffer(b"".join(keys), np.uint8).reshape(len(keys), length)
    whole = length - length % WORD
    words = np.ascontiguousarray(key[:, :whole]).view("<u4")
    hashed = np.full(len(keys), (SEED ^ length) & 0xFFFFFFFF, np.uint32)
    for column in range(whole // WORD):
        word = words[:, column] * MULTIPLIER
        word ^= word >> np.uint32(24)
        hashed = (hashed * MULTIPLIER) ^ (word * MULTIPLIER)
    if whole < length:
        for column in range(whole, length):
            hashed ^= key[:, column].astype(np.uint32) << np.uint32(8 * (column - whole))
        hashed *= MULTIPLIER
    hashed ^= hashed >> np.uint32(13)
    hashed *= MULTIPLIER
    hashed ^= hashed >> np.uint32(15)
    return hashed
