"""Which event times are believable. Late is fine, slightly ahead is clamped, absurd is refused.

Never reads a clock: `arrived_ms` is when the record entered its topic.
"""

from datetime import UTC, datetime, timedelta

from services.ingest.core.faults import fault

TIME_MIN = datetime(1990, 1, 1, tzinfo=UTC)
"""Before electronic purchase records worth loading; earlier dates are defaults and typing
errors (0001, 1900, 1970)."""

AHEAD_MAX = timedelta(minutes=5)
"""How far ahead of its arrival an event may be dated before it is pulled back: the drift of
a badly kept clock."""

AHEAD_LIMIT = timedelta(days=400)
"""Beyond this an event is refused: a date wrong by a year is still an event that happened
(and is clamped), 2099 or 9999 is a way of saying "never"."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def settle(time: datetime, arrived_ms: int) -> datetime:
    """`time` (aware) in UTC, at most arrival + 5 min; Invalid where it cannot be meant.

    >>> settle(datetime(2031, 1, 1, tzinfo=UTC), 1_917_302_400_000)  # arrived 2030-10-04
    datetime.datetime(2030, 10, 4, 0, 5, tzinfo=datetime.timezone.utc)
    """
    if time < TIME_MIN:
        raise fault("time", f"before {TIME_MIN:%Y-%m-%d}")
    # Nearly always, and then no sum is needed. Roundings are far smaller than `AHEAD_MAX`.
    if time.timestamp() * 1000 < arrived_ms:
        return time.astimezone(UTC)
    arrived = _EPOCH + timedelta(milliseconds=arrived_ms)
    latest = arrived + AHEAD_MAX
    if time <= latest:
        return time.astimezone(UTC)
    if time > arrived + AHEAD_LIMIT:
        raise fault("time", f"more than {AHEAD_LIMIT.days} days after its arrival")
    return latest
