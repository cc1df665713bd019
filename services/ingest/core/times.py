"""Checks event times: late is fine, 5 to 15 minutes ahead is clamped, more is refused.

No clock is read: `arrived_ms` is when the record entered its topic.
"""

from datetime import UTC, datetime, timedelta

from services.ingest.core.faults import fault
from shared.kernel.errors import Invalid

TIME_MIN = datetime(1990, 1, 1, tzinfo=UTC)
"""Before electronic purchase records worth loading; earlier dates are defaults and typing errors
(0001, 1900, 1970)."""

AHEAD_MAX = timedelta(minutes=5)
"""How far ahead of its arrival an event may be dated before its time is clamped: the drift of a
badly kept clock."""

AHEAD_LIMIT = timedelta(minutes=15)
"""Beyond this an event is refused: no clock is so wrong, so the date is, and treating it as "now"
would hide a silence. The usual cause is a local time that was sent as UTC."""

AFTER_ARRIVAL = "after its arrival"
"""Part of the reason of every event that is refused as future."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def plausible(time: datetime, arrived_ms: int) -> datetime:
    """Returns `time` (aware) in UTC, at most arrival + 5 min; raises Invalid if it is implausible.

    >>> plausible(datetime(2030, 10, 4, 0, 9, tzinfo=UTC), 1_917_302_400_000)  # arrived 00:00
    datetime.datetime(2030, 10, 4, 0, 5, tzinfo=datetime.timezone.utc)
    """
    if time < TIME_MIN:
        raise fault("time", f"before {TIME_MIN:%Y-%m-%d}")
    # The usual case, decided without date arithmetic. Rounding is far smaller than `AHEAD_MAX`.
    if time.timestamp() * 1000 < arrived_ms:
        return time.astimezone(UTC)
    arrived = _EPOCH + timedelta(milliseconds=arrived_ms)
    latest = arrived + AHEAD_MAX
    if time <= latest:
        return time.astimezone(UTC)
    if time > arrived + AHEAD_LIMIT:
        minutes = AHEAD_LIMIT // timedelta(minutes=1)
        ahead = str(time - arrived).partition(".")[0]
        raise fault(
            "time",
            f"{ahead} {AFTER_ARRIVAL}, at most {minutes} minutes are: is it a local time sent as "
            "UTC?",
        )
    return latest


def is_future(refusal: Invalid) -> bool:
    """Returns whether an event was refused because its time is too far after its arrival."""
    return AFTER_ARRIVAL in refusal.reason
