"""Makes dead letters of events that were refused over HTTP, like those from Kafka.

Such an event was never in a topic. Its origin is therefore the route and a number computed from its
content: the same bytes refused for the same reason on the same day are one letter, however often
they are sent.
"""

from datetime import datetime
from hashlib import blake2b
from typing import Final

from shared.contracts.dead_letter import DeadLetter, Headers, Origin
from shared.kernel.errors import Invalid

EVENTS_ORIGIN: Final = "POST /v1/events"
"""Takes the place of the topic; no topic of Kafka can have this name."""

_HTTP: Final = "POST "


def is_http(origin_topic: str) -> bool:
    """Returns whether the topic of an origin is a route."""
    return origin_topic.startswith(_HTTP)


def letter(
    value: bytes, fault: Invalid, headers: Headers, at: datetime, origin: str = EVENTS_ORIGIN
) -> DeadLetter:
    """Returns the dead letter of refused bytes; `headers`: as of an accepted event's record.

    `origin`: the route, such as `POST /v1/events`.
    """
    day = at.date().isoformat()
    said = "\0".join((day, origin, fault.field, fault.reason)).encode() + b"\0" + value
    number = int.from_bytes(blake2b(said, digest_size=8).digest()) >> 1
    return DeadLetter(
        key=None,
        value=value,
        original_headers=headers,
        origin=Origin(origin, 0, number),
        stage="ingest",
        field=fault.field,
        reason=fault.reason,
        arrived_ms=int(at.timestamp() * 1000),
    )


class Allowance:
    """A budget of bytes per minute, which accumulates for at most one minute."""

    def __init__(self, per_minute: int) -> None:
        self._per_minute = per_minute
        self._left = float(per_minute)
        self._at_s: float | None = None

    def take(self, amount: int, now_s: float) -> bool:
        """Take this amount and return True if it is available; `now_s` is on a monotonic clock.

        >>> allowance = Allowance(60)
        >>> allowance.take(50, 0.0), allowance.take(20, 5.0), allowance.take(20, 10.0)
        (True, False, True)
        """
        passed_s = 0.0 if self._at_s is None else now_s - self._at_s
        self._at_s = now_s
        self._left = min(self._per_minute, self._left + passed_s * self._per_minute / 60)
        if amount > self._left:
            return False
        self._left -= amount
        return True

    def wait_s(self, amount: int) -> float:
        """Return the seconds from the last `take` until this amount is available.

        >>> allowance = Allowance(60)
        >>> allowance.take(50, 0.0), allowance.wait_s(20)
        (True, 10.0)
        """
        missing = min(amount, self._per_minute) - self._left
        return max(0.0, missing * 60 / self._per_minute) if self._per_minute else 60.0
