"""Stable hashes: a word has the same number in every process and version."""

import hashlib


def stable_hash(*words: str) -> int:
    """Return 64 bits of blake2b; each word is ended by a NUL so that lists do not run together.

    >>> stable_hash("shop", "e-1") == stable_hash("shop", "e-1") != stable_hash("shope", "-1")
    True
    """
    digest = hashlib.blake2b(digest_size=8)
    for word in words:
        digest.update(word.encode() + b"\0")
    return int.from_bytes(digest.digest(), "little")
