"""Stable hashes: the same word gives the same number in every process and version."""

import hashlib


def stable_hash(*words: str) -> int:
    """64 bits of blake2b over the words, each ended by a NUL so that no two lists collide.

    >>> stable_hash("shop", "e-1") == stable_hash("shop", "e-1") != stable_hash("shope", "-1")
    True
    """
    digest = hashlib.blake2b(digest_size=8)
    for word in words:
        digest.update(word.encode() + b"\0")
    return int.from_bytes(digest.digest(), "little")
