"""Decides what follows an attempt to deliver: done, retry, give up, or switch the endpoint off.

Defines the retry schedule and reads answers, on values alone. Nothing is sent, no clock is read;
the jitter is a hash, so that a schedule can be replayed.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Final, Literal

DELAYS_S: Final = (0, 5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
"""Seconds before each attempt, counted from the one before it: ten attempts in 75 h 35 min,
so that a receiver that is down over a weekend misses nothing (Standard Webhooks' example)."""

JITTER: Final = 0.2
"""Share by which a delay varies, so that messages that failed together are not retried together."""

THROTTLED_S_MIN: Final = 60.0
"""Least delay after a 429 or a timeout, which show that the receiver is overloaded."""

RETRY_AFTER_TIMES_MAX: Final = 2.0
"""A receiver may ask for at most so many times the regular delay: it may slow us down, but not stop
us."""

RETRY_AFTER_LENGTH_MAX: Final = 1_000
"""Characters of a `Retry-After` that are read: a date has 29, and a longer number asks for more
than `RETRY_AFTER_TIMES_MAX` gives. A longer text counts as absent."""

ERROR_LENGTH_MAX: Final = 2_000
"""Characters of a reason in the log of attempts; the receiver's text may be part of it."""

HEAD_LENGTH_MAX: Final = 20_000
"""Characters of an answer's body in the log of attempts: any error page is recognised by them."""

REMOTE_ID: Final = re.compile(r"[!-~]{1,255}")
"""Pattern of a record's or message's id in another system: it is part of an index (entries of at
most 2,704 bytes) and of addresses. Any other text counts as no id."""

_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun",
                  "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")  # fmt: skip
_TIME = r"(?P<hour>\d\d):(?P<minute>\d\d):(?P<second>\d\d)"
_HTTP_DATES: Final = (
    rf"[A-Z][a-z]{{2}}, (?P<day>\d\d) (?P<month>[A-Z][a-z]{{2}}) (?P<year>\d{{4}}) {_TIME} GMT",
    rf"[A-Z][a-z]{{5,8}}, (?P<day>\d\d)-(?P<month>[A-Z][a-z]{{2}})-(?P<year>\d\d) {_TIME} GMT",
    rf"[A-Z][a-z]{{2}} (?P<month>[A-Z][a-z]{{2}}) (?P<day>[ \d]\d) {_TIME} (?P<year>\d{{4}})",
)
"""The three forms of a date in a header (RFC 9110, 5.6.7)."""

ABORT: Final = ("webhook-delivery", "abort-message")
"""A response header by which a receiver stops the retries of one message."""

_UNSTORABLE: Final = re.compile("[\0\ud800-\udfff]")

Result = Literal["ok", "retry", "refresh_token", "permanent", "endpoint_dead", "ambiguous"]
"""The meaning of an answer, whatever system gave it.

`ok` it is there · `retry` it is not there, later it may be · `refresh_token` our access token has
ended · `permanent` this message will never be accepted · `endpoint_dead` no message will be ·
`ambiguous` it may or may not be there: search before creating it again.
"""

Outcome = Literal["delivered", "retry", "failed", "gone"]


@dataclass(frozen=True, slots=True)
class Reply:
    """The reply to an HTTP request. `status` None: no readable answer; `error` states why."""

    status: int | None
    duration_ms: float = 0.0
    body: bytes = b""
    """The beginning of the body, up to the bound that the caller set."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Names in lower case."""
    error: str | None = None
    """The error in words, without URL or secret."""
    timed_out: bool = False
    reached: bool = True
    """False: there was no connection, so that the receiver cannot have acted on it."""

    @property
    def head(self) -> str:
        """Return the body's beginning as text that PostgreSQL can store."""
        return storable(self.body[: 4 * HEAD_LENGTH_MAX].decode("utf-8", "replace"))


@dataclass(frozen=True, slots=True)
class Answer:
    """The result of an attempt."""

    result: Result
    status: int | None = None
    """HTTP status, for the log."""
    duration_ms: float = 0.0
    head: str = ""
    """Beginning of the response's body, for the log."""
    error: str | None = None
    """Why the result is not `ok`, in words without a secret."""
    retry_after: str | None = None
    """The header of this name: seconds, or an HTTP date."""
    throttled: bool = False
    """The receiver has reported or shown that it is overloaded."""
    remote_id: str | None = None
    """The task's id in the receiving system."""

    def __post_init__(self) -> None:
        """Limit the receiver's texts to what can be stored, for every connector."""
        object.__setattr__(self, "head", storable(self.head, HEAD_LENGTH_MAX))
        if self.error is not None:
            object.__setattr__(self, "error", storable(self.error, ERROR_LENGTH_MAX))
        if self.remote_id is not None and not REMOTE_ID.fullmatch(self.remote_id):
            object.__setattr__(self, "remote_id", None)


@dataclass(frozen=True, slots=True)
class Next:
    """What follows an attempt. `delay_s`: until the next attempt, None where there is none."""

    outcome: Outcome
    delay_s: float | None = None


def storable(text: str, most: int = HEAD_LENGTH_MAX) -> str:
    """Return at most `most` characters of the text that PostgreSQL and UTF-8 can store.

    >>> storable("a\\0b\\ud800c", 4)
    'a\ufffdb\ufffd'
    """
    return _UNSTORABLE.sub("\N{REPLACEMENT CHARACTER}", text[:most])


def answer(reply: Reply, result: Result, why: str | None = None, **more: str | None) -> Answer:
    """Make an answer from a reply; `why` defaults to the reply's own error."""
    status = reply.status
    error = why or reply.error or (None if result == "ok" else f"HTTP {status}")
    return Answer(
        result=result,
        status=status,
        duration_ms=reply.duration_ms,
        head=reply.head,
        error=error,
        retry_after=reply.headers.get("retry-after"),
        throttled=reply.timed_out or status == HTTPStatus.TOO_MANY_REQUESTS,
        **more,
    )


def read(reply: Reply) -> Answer:
    """Return what a plain webhook's reply means.

    2xx is the only success; a redirect is a failure like any other. 410 means that the receiver is
    gone. A receiver may stop the retries of one message by the header `ABORT`.
    """
    if reply.status is None:
        return answer(reply, "ambiguous" if reply.reached else "retry")
    if reply.status // 100 == HTTPStatus.OK // 100:
        return answer(reply, "ok")
    if reply.status == HTTPStatus.GONE:
        return answer(reply, "endpoint_dead", "answered 410 Gone")
    name, value = ABORT
    if reply.headers.get(name, "").strip().lower() == value:
        return answer(reply, "permanent", f"HTTP {reply.status}, the receiver asks for no retry")
    return answer(reply, "retry")


def after(
    answer: Answer, message_id: str, attempt: int, now: datetime, delays_s: Sequence[float]
) -> Next:
    """Return what follows attempt number `attempt` (from 1) at `now` (UTC).

    `endpoint_dead` turns the endpoint off, and the message waits until an operator turns it on
    again. After the last delay of `delays_s` the message is given up.
    """
    if answer.result == "ok":
        return Next("delivered")
    if answer.result == "endpoint_dead":
        return Next("gone", 0.0)
    if answer.result == "permanent" or attempt >= len(delays_s):
        return Next("failed")
    return Next("retry", _delay_s(answer, message_id, attempt, now, delays_s[attempt]))


def jitter(message_id: str, attempt: int) -> float:
    """Return a number in [-1, 1) that is the same for the same message and attempt.

    >>> jitter("msg_1", 1) == jitter("msg_1", 1) != jitter("msg_1", 2)
    True
    """
    digest = hashlib.blake2b(f"{message_id}/{attempt}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) / 2**63 - 1


def retry_after_s(value: str | None, now: datetime) -> float | None:
    """Return the seconds that a `Retry-After` header asks for; None where it is not usable."""
    if value is None or len(value) > RETRY_AFTER_LENGTH_MAX:
        return None
    text = value.strip()
    if not text.isascii():
        return None
    if text.isdigit():
        return float(text)  # infinite where it has more digits than a float: bounded by the caller
    at = _http_date(text, now)
    return None if at is None else max(0.0, (at - now).total_seconds())


def _http_date(text: str, now: datetime) -> datetime | None:
    """Parse one of the three forms to a time (UTC); None for any other text and no real time."""
    found = next((m for form in _HTTP_DATES if (m := re.fullmatch(form, text))), None)
    if found is None or found["month"] not in _MONTHS:
        return None
    year = int(found["year"])
    if len(found["year"]) == 2:  # noqa: PLR2004 (digits)
        # Two digits mean the year that is not more than 50 years ahead (RFC 9110).
        year += now.year - now.year % 100
        year -= 100 * (year > now.year + 50)
    second = int(found["second"])
    second -= second == 60  # noqa: PLR2004 (a leap second)
    clock = (int(found["hour"]), int(found["minute"]), second)
    try:
        return datetime(
            year, _MONTHS.index(found["month"]) + 1, int(found["day"]), *clock, tzinfo=UTC
        )
    except ValueError:
        return None


def _delay_s(answer: Answer, message_id: str, attempt: int, now: datetime, base_s: float) -> float:
    asked = retry_after_s(answer.retry_after, now)
    if asked is None:
        delay = base_s * (1 + JITTER * jitter(message_id, attempt))
    else:
        delay = min(max(asked, base_s), RETRY_AFTER_TIMES_MAX * base_s)
    return max(delay, THROTTLED_S_MIN) if answer.throttled else delay
