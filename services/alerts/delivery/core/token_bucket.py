"""Computes a token bucket: how many messages may be sent now under a rate per second.

Only the arithmetic; the bucket itself is a row that all processes share.
"""

from datetime import datetime


def tokens(stored: float, since: datetime | None, now: datetime, rate: float, burst: int) -> float:
    """Return the tokens at `now`: those `stored` at `since` plus the refill, at most `burst`.

    >>> from datetime import UTC, timedelta
    >>> t = datetime(2026, 1, 1, tzinfo=UTC)
    >>> tokens(0.0, t, t + timedelta(seconds=3), rate=1 / 3, burst=1)
    1.0
    >>> tokens(0.0, None, t, rate=1.0, burst=5)  # never used: full
    5.0
    """
    if since is None:
        return float(burst)
    return min(float(burst), stored + max(0.0, (now - since).total_seconds()) * rate)
