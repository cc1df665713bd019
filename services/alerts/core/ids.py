"""Computes ids that are the same on every replay, and stable draws."""

import base64
import hashlib


def task_id(customer_id: str, cause: str, episode: int) -> str:
    """Return the id of a task: the same for the same customer, cause and episode.

    >>> task_id("c-1", "complaint_open", 1)
    'rt_z7d2lgmqe6dj2gzxcwhgnbm2de'
    """
    return "rt_" + stable_id("task", customer_id, cause, str(episode))


def stable_id(*parts: str) -> str:
    """Return 26 lower-case letters and digits that identify `parts` (128 bits of BLAKE2b)."""
    digest = hashlib.blake2b(digest_size=16, person=b"ebbwatch")
    for part in parts:
        encoded = part.encode()
        digest.update(len(encoded).to_bytes(4) + encoded)
    return base64.b32encode(digest.digest()).decode().rstrip("=").lower()


def draw(purpose: bytes, *parts: str) -> int:
    """Return 64 evenly spread bits from the purpose and the parts alone.

    `purpose` has at most 16 bytes.
    """
    digest = hashlib.blake2b(digest_size=8, person=purpose)
    for part in parts:
        encoded = part.encode()
        digest.update(encoded if len(parts) == 1 else len(encoded).to_bytes(4) + encoded)
    return int.from_bytes(digest.digest())
