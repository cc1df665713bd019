"""What is read from the topics, and what is refused."""

from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

from services.alerts.inbound.activity import ActivityDecoder
from services.alerts.inbound.dead_letters import nul_free
from services.alerts.inbound.risk import RiskDecoder
from services.alerts.ports import Decoded
from shared.contracts import activity, events, risk
from shared.contracts.activity import Activity, ActivityData
from shared.contracts.events import Profile
from shared.kafka.batch import Batch, ConsumedRecord
from shared.kernel.errors import Invalid
from tests.unit.alerts.samples import assessed, day


@dataclass(slots=True)
class Fetched:
    """A consumed record."""

    value: bytes | None
    offset: int = 0
    topic: str = "t"
    partition: int = 0
    timestamp: int = 0
    key: bytes | None = b"c-1"
    headers: tuple[tuple[str, bytes | None], ...] = ()


def batch(*values: bytes | None) -> Batch:
    records: list[ConsumedRecord] = [Fetched(value, n) for n, value in enumerate(values)]
    return Batch({}, {("t", 0): records}, {})


def event(kind: str, at: float, **more: Any) -> bytes:
    fields: dict[str, Any] = {"specversion": "1.0", "id": f"e-{at}", "source": "/t", "type": kind}
    fields |= {"time": day(at), "subject": "c-1"} | more
    return activity.ENCODER.encode(Activity(**fields))


def profile(name: str, at: float, **more: Any) -> bytes:
    return event(events.PROFILE, at, data=ActivityData(profile=Profile(name=name)), **more)


def test_only_live_purchases_and_the_newest_profile_count() -> None:
    seen = ActivityDecoder("dead")(
        batch(
            event(events.PURCHASE, 1),
            event(events.PURCHASE, 2, backfill="import-1"),
            event(events.REFUND, 3),
            profile("new", 5, backfill="import-1"),
            profile("old", 4),
            event(events.TICK, 7, subject=""),
            event(events.TICK, 6, subject=""),
        )
    )
    assert [at for _, _, at in seen.purchases] == [day(1)]
    assert seen.profiles["c-1"][1].profile.name == "new"
    assert seen.ticks == {("t", 0): day(7)}
    assert seen.dead == []


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        event(events.PURCHASE, 1, subject=""),
        event(events.PURCHASE, 1, subject="a\0b"),
        event(events.PURCHASE, 1, subject="x" * 257),
        event(events.PROFILE, 1),
        profile("a\0b", 1),
        event(events.PURCHASE, 1).replace(b"Z", b""),
    ],
)
def test_activity_that_is_refused(value: bytes | None) -> None:
    seen = ActivityDecoder("dead")(batch(value, event(events.PURCHASE, 1)))
    assert len(seen.dead) == len(seen.purchases) == 1


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("customer_id", {"customer_id": ""}),
        ("customer_id", {"customer_id": "x" * 257}),
        ("value", {"customer_id": "a\0"}),
        ("revision", {"revision": -1}),
        ("revision", {"revision": 2**63}),
        ("horizon_days", {"horizon_days": 10**6}),
        ("assessed_at", {"assessed_at": day(0).replace(tzinfo=None)}),
        ("assessed_at", {"assessed_at": day(0).replace(year=9999)}),
        ("last_purchase_at", {"last_purchase_at": day(0).replace(year=1)}),
        ("value", {"probability": 1.5}),
        ("value", {"band": "none"}),
    ],
)
def test_assessments_that_are_refused(field: str, change: dict[str, Any]) -> None:
    good = assessed(1, 0)
    bad = msgspec.json.encode(assessed(**({"revision": 1, "at": 0} | change)))
    decoded = RiskDecoder("dead")(batch(bad, risk.ENCODER.encode(good)))
    assert [a.message for a in decoded.seen] == [good]
    (letter,) = decoded.dead
    assert dict(letter.headers)["ebbwatch-field"] == field.encode()
    assert letter.value == bad


def test_a_tombstone_has_no_content() -> None:
    assert RiskDecoder("dead")(batch(None)) == Decoded([], [], [])


@pytest.mark.parametrize("text", ["a\\u0000", "\\\\u0000 in the text", "plain"])
def test_a_backslash_is_not_a_nul(text: str) -> None:
    nul_free("x", msgspec.json.encode(text))
    with pytest.raises(Invalid):
        nul_free("x", msgspec.json.encode(text + "\0"))
