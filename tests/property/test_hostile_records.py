"""Every decoder of a topic between the services, given arbitrary records.

What it accepts can be stored and computed with, whole; all else is a dead letter.
"""

import copy
import json
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from services.alerts.inbound.activity import ActivityDecoder as AlertsActivity
from services.alerts.inbound.changes import ChangesDecoder
from services.alerts.inbound.risk import RiskDecoder
from services.scoring.inbound.activity import ActivityDecoder as ScoringActivity
from services.scoring.inbound.treatment import TreatmentDecoder
from shared.contracts.events import key_fault
from shared.kernel.text import unkeepable
from shared.kernel.times import EARLIEST, LATEST
from shared.postgres.ledger import Claim
from tests.fakes import activity
from tests.fakes.activity import day
from tests.fakes.log import MemoryLog
from tests.hostile.corpus import VALUES
from tests.hostile.samples import CHANGED, EVENTS, RISKS, TREATED

DEAD = "dead"
TOPIC = "t"


def through(decode: Callable[[Any], Any], value: bytes | None) -> Any:
    """Returns the result of decoding one record."""
    log = MemoryLog(TOPIC)
    log.append(0, value, key=b"c")
    return decode(log.batch([Claim(TOPIC, 0, 1, None, None)], 10))


DECODERS: dict[str, tuple[Callable[[Any], Any], list[bytes]]] = {
    "alerts, activity": (AlertsActivity(DEAD), EVENTS),
    "alerts, risk": (RiskDecoder(DEAD), RISKS),
    "alerts, changes": (ChangesDecoder(DEAD), CHANGED),
    "scoring, treatment": (TreatmentDecoder(DEAD), TREATED),
    "scoring, activity": (lambda b: ScoringActivity(DEAD, replay=True)(b, day(1)), EVENTS),
    "scoring, live": (lambda b: ScoringActivity(DEAD, replay=False)(b, day(1)), EVENTS),
}


def check(value: Any, path: str = "") -> None:
    """Fail for what PostgreSQL or a sum cannot hold.

    Records and messages are not checked inside: they are the sender's bytes.
    """
    if isinstance(value, str):
        assert unkeepable(value) is None, path
    elif isinstance(value, bool) or value is None:
        pass
    elif isinstance(value, int):
        assert abs(value) < 2**63, path
    elif isinstance(value, datetime):
        assert EARLIEST <= value <= LATEST, path
        # JSON accepts +23:59, PostgreSQL does not: times that are passed on are in UTC.
        assert value.utcoffset() == timedelta(), path
    elif isinstance(value, (list, tuple, set, frozenset)):
        for inner in value:
            check(inner, path)
    elif isinstance(value, dict):
        for key, inner in value.items():
            check(key, path)
            check(inner, f"{path}.{key}")
    elif isinstance(value, (msgspec.Struct, np.ndarray)) or is_dataclass(value):
        names = getattr(value, "__struct_fields__", None) or [f.name for f in fields(value)]  # type: ignore[arg-type]
        for name in names:
            if name not in {"dead", "record", "message", "value", "headers", "packed"}:
                check(getattr(value, name), f"{path}.{name}")


OFFSETS = st.integers(-1_439, 1_439).map(lambda minutes: timezone(timedelta(minutes=minutes)))
TIMES = st.datetimes(timezones=OFFSETS | st.none()).map(datetime.isoformat)


@st.composite
def damaged(draw: st.DrawFn, samples: list[bytes]) -> bytes:
    """Draws a good message with one to three of its parts replaced."""
    document = json.loads(draw(st.sampled_from(samples)))
    for _ in range(draw(st.integers(1, 3))):
        owner, place = document, draw(st.sampled_from(sorted(document)))
        while isinstance(owner.get(place), dict) and owner[place] and draw(st.booleans()):
            owner = owner[place]
            place = draw(st.sampled_from(sorted(owner)))
        # A copy: a later round may change it, and the samples are shared by all examples.
        owner[place] = copy.deepcopy(
            draw(st.sampled_from(VALUES) | TIMES | st.integers() | st.floats() | st.text())
        )
    ascii_only = draw(st.booleans())
    return json.dumps(document, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")


@pytest.mark.parametrize("name", DECODERS)
@settings(max_examples=150)
@given(st.data())
def test_a_damaged_message(name: str, data: st.DataObject) -> None:
    """Accepted whole, or parked; never an error of another kind."""
    decode, samples = DECODERS[name]
    found = through(decode, data.draw(damaged(samples)))
    if name == "alerts, risk":  # its messages are passed on unchanged, except for their times
        found = [(a.message.assessed_at, a.message.last_purchase_at) for a in found.seen]
    check(found)


@pytest.mark.parametrize("name", DECODERS)
@given(at=TIMES)
def test_any_time_becomes_utc_or_is_parked(name: str, at: str) -> None:
    """With any offset: converted to UTC, or parked."""
    decode, samples = DECODERS[name]
    for sample in samples:
        document = json.loads(sample)
        found = through(decode, json.dumps(document | dict.fromkeys(_times(document), at)).encode())
        if name == "alerts, risk":
            found = [(a.message.assessed_at, a.message.last_purchase_at) for a in found.seen]
        check(found)


def _times(document: dict[str, Any]) -> list[str]:
    return sorted(document.keys() & {"time", "at", "until", "assessed_at", "last_purchase_at"})


@pytest.mark.parametrize("name", DECODERS)
@given(value=st.none() | st.binary(max_size=60))
@example(value=b"[" * 100_000)
@example(value=b'{"a":' * 100_000)
@example(value=b"9" * 5_000)
@example(value=b'{"customer_id": "\xff"}')
@example(value=b'{"id": "\xff"}')
def test_any_bytes_are_parked_or_accepted(name: str, value: bytes | None) -> None:
    """Parked, or nothing at all."""
    through(DECODERS[name][0], value)


@given(
    st.text(min_size=1, max_size=256),
    st.text(max_size=256),
    st.text(max_size=256),
)
@example("\U00020000" * 256, "\U00020000" * 256, "\U00020000" * 256)
def test_keys_that_no_index_holds(customer: str, source: str, name: str) -> None:
    """Also for records that did not come through ingest."""
    try:
        value = activity.event(name, customer, day(0), source=source)
    except UnicodeEncodeError:
        return
    seen = through(AlertsActivity(DEAD), value)
    rows, _ = through(lambda b: ScoringActivity(DEAD, replay=True)(b, day(1)), value)
    for kept in seen.money:
        assert key_fault(kept.customer_id, kept.source, kept.event_id) is None
    for subject, origin, number in zip(rows.customer, rows.source, rows.id, strict=True):
        assert key_fault(subject, origin, number) is None
