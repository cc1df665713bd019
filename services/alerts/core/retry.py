"""What an attempt to deliver leads to: done, again later, given up, or the endpoint is off.

What it is for: the retry schedule and the reading of answers, on numbers alone. It never
sends, sleeps or reads a clock; its jitter is a hash, so that a schedule can be replayed.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Final, Literal

DELAYS_S: Final = (0, 5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
"""Seconds before each attempt, counted from the one before it: ten attempts in 75 h 35 min,
so that a receiver that is down over a weekend misses nothing (Standard Webhooks' example)."""

JITTER: Final = 0.2
"""A delay varies by this share, so that what failed together does not come back together."""

THROTTLED_S_MIN: Final = 60.0
"""At least so long after a 429 or a timeout: the receiver has said that it is overloaded."""

RETRY_AFTER_TIMES_MAX: Final = 2.0
"""A receiver may ask for up to so many times the delay that was due anyway: it may slow us,
not park us."""

Outcome = Literal["delivered", "retry", "failed", "gone"]


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. `status` None: no answer; `error` then says why."""

    status: int | None
    duration_ms: float
    head: str = ""
    """Beginning of the response's body."""
    retry_after: str | None = None
    error: str | None = None
    timed_out: bool = False


@dataclass(frozen=True, slots=True)
class Next:
    """What follows. `delay_s`: until the next attempt, None where there is none."""

    outcome: Outcome
    delay_s: float | None = None


def after(
    answer: Answer, message_id: str, attempt: int, now: datetime, delays_s: Sequence[float]
) -> Next:
    """What follows attempt number `attempt` (from 1) at `now` (UTC).

    2xx is the only success; a redirect is a failure like any other. 410 turns the endpoint
    off, and the message waits until somebody turns it on again. After the last delay of
    `delays_s` the message is given up.
    """
    if answer.status is not None and answer.status // 100 == HTTPStatus.OK // 100:
        return Next("delivered")
    if answer.status == HTTPStatus.GONE:
        return Next("gone", 0.0)
    if attempt >= len(delays_s):
        return Next("failed")
    return Next("retry", _delay_s(answer, message_id, attempt, now, delays_s[attempt]))


def jitter(message_id: str, attempt: int) -> float:
    """A number in [-1, 1) that is the same for the same message and attempt.

    >>> jitter("msg_1", 1) == jitter("msg_1", 1) != jitter("msg_1", 2)
    True
    """
    digest = hashlib.blake2b(f"{message_id}/{attempt}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) / 2**63 - 1


def retry_after_s(value: str | None, now: datetime) -> float | None:
    """Seconds that a `Retry-After` header asks for; None where it says nothing usable."""
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        # Longer than any number that we would follow: spare the conversion of a huge one.
        return float(text[:12])
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, ((at if at.tzinfo else at.replace(tzinfo=UTC)) - now).total_seconds())


def _delay_s(answer: Answer, message_id: str, attempt: int, now: datetime, base_s: float) -> float:
    asked = retry_after_s(answer.retry_after, now)
    if asked is None:
        delay = base_s * (1 + JITTER * jitter(message_id, attempt))
    else:
        delay = min(max(asked, base_s), RETRY_AFTER_TIMES_MAX * base_s)
    if answer.timed_out or answer.status == HTTPStatus.TOO_MANY_REQUESTS:
        delay = max(delay, THROTTLED_S_MIN)
    return delay
