"""Records of the activity topic for tests, as ingest writes them."""

from datetime import UTC, datetime
from hashlib import blake2b

from shared.contracts import events as types
from shared.contracts.activity import ENCODER, Activity, ActivityData
from shared.contracts.events import Profile

SOURCE = "shop/till"
RECEIVED_MS = 1_772_355_600_000
"""2026-03-01T09:00:00Z: the default time at which an event entered the raw topic."""


def day(number: float) -> datetime:
    """Returns noon, `number` days after the first of March 2026, UTC."""
    return datetime.fromtimestamp(1_772_366_400 + number * 86_400, UTC)


def event(
    name: str,
    customer: str,
    time: datetime,
    *,
    kind: str = types.PURCHASE,
    backfill: str | None = None,
    source: str = SOURCE,
    received_ms: int = RECEIVED_MS,
    data: ActivityData | None = None,
) -> bytes:
    """Builds the value of one event's record; by default a purchase of 10."""
    data = data or ActivityData(amount=10.0 if kind == types.PURCHASE else None)
    shown = ENCODER.encode((kind, customer, time, data))
    return ENCODER.encode(
        Activity(
            specversion="1.0",
            id=name,
            source=source,
            type=kind,
            time=time,
            subject=customer,
            contenthash=blake2b(shown, digest_size=16).hexdigest(),
            receivedms=received_ms,
            backfill=backfill,
            data=data,
        )
    )


def interaction(name: str, customer: str, time: datetime, kind: str = "page_viewed") -> bytes:
    """Builds an interaction, which makes no customer a buyer."""
    return event(name, customer, time, kind=types.INTERACTION, data=ActivityData(kind=kind))


def feedback(
    name: str, customer: str, time: datetime, kind: str, score: float | None = None
) -> bytes:
    """Builds feedback of the customer."""
    data = ActivityData(kind=kind, score=score)
    return event(name, customer, time, kind=types.FEEDBACK, data=data)


def contract(name: str, customer: str, time: datetime, kind: str) -> bytes:
    """Builds a contract event: one is active from now on (`activated`), or none is (`ended`)."""
    return event(name, customer, time, kind=types.CONTRACT, data=ActivityData(kind=kind))


def profile(name: str, customer: str, time: datetime, /, **facts: str) -> bytes:
    """Builds a profile of the customer."""
    data = ActivityData(profile=Profile(**facts))  # type: ignore[arg-type] # the test's own words
    return event(name, customer, time, kind=types.PROFILE, data=data)


def tick(time: datetime, received_ms: int = RECEIVED_MS) -> bytes:
    """Builds a tick: business time becomes `time`, in a replay."""
    return _control(types.TICK, f"tick-{time.isoformat()}", time, received_ms)


def ended(time: datetime, name: str = "ended") -> bytes:
    """Builds the end of an import."""
    return _control(types.BACKFILL_ENDED, name, time, RECEIVED_MS)


def _control(kind: str, name: str, time: datetime, received_ms: int) -> bytes:
    return ENCODER.encode(
        Activity(
            specversion="1.0",
            id=name,
            source="replay",
            type=kind,
            time=time,
            receivedms=received_ms,
        )
    )
