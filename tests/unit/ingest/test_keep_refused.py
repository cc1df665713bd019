"""What was refused over HTTP is kept within its bounds, and no request waits for it."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from services.ingest.core import dead_letters
from services.ingest.core.faults import fault
from services.ingest.core.refused import EVENTS_ORIGIN, letter
from services.ingest.handlers.keep_refused import (
    LETTER_BYTES,
    WAITING_BYTES_MAX,
    KeepRefused,
    Outcome,
)
from shared.contracts.topics import RAW_MESSAGE_BYTES_MAX
from shared.kernel.errors import Invalid
from shared.runtime.service import Stop
from tests.fakes.clock import SetClock
from tests.unit.ingest.fakes import FakeOutlet

WHY = Invalid("data.amount", "malformed")
HEADERS = (("content-type", b"application/cloudevents+json"),)


@dataclass(slots=True)
class Fixture:
    """A keeper with a number of bytes a minute."""

    per_minute: int = 8 * 1024 * 1024
    outlet: FakeOutlet = field(default_factory=FakeOutlet)
    clock: SetClock = field(default_factory=SetClock)
    seen: Counter[str] = field(default_factory=Counter)

    def keeper(self) -> KeepRefused:
        return KeepRefused(self.outlet, "dead", self.per_minute, self.clock, self._observe)

    def _observe(self, outcome: Outcome, count: int) -> None:
        self.seen[outcome] += count


async def drained(keep: KeepRefused) -> None:
    """Stop it at once; it sends what waits."""
    stop = Stop()
    stop.set()
    await keep.watch(stop)


@given(st.binary(max_size=200), st.text(max_size=300), st.text(max_size=500))
def test_the_index_reads_every_letter_back(value: bytes, path: str, reason: str) -> None:
    """Every letter is readable, whatever was sent and whatever the error names."""
    why = fault(path.encode(errors="replace").decode(), reason.encode(errors="replace").decode())
    made = letter(value, why, HEADERS, datetime(2026, 3, 1, tzinfo=UTC))
    found = dead_letters.read(made.key, made.value, made.to_headers(), ("dead", 0, 1)).letter
    assert (found.origin, found.value) == (made.origin, value)
    assert found.original_headers == HEADERS
    assert found.origin.topic == EVENTS_ORIGIN


async def test_the_same_content_is_one_letter_a_day() -> None:
    """Another reason, other bytes or another day make a separate letter."""
    f = Fixture()
    keep = f.keeper()
    for _ in range(3):
        keep(b"x", WHY, HEADERS)
    keep(b"x", Invalid("time", "missing"), HEADERS)
    keep(b"y", WHY, HEADERS)
    f.clock.pass_by(timedelta(days=1))
    keep(b"x", WHY, HEADERS)
    await drained(keep)
    assert f.seen == {"known": 2, "kept": 4}
    assert [r.value for r in f.outlet.sent] == [b"x", b"x", b"y", b"x"]
    assert {r.topic for r in f.outlet.sent} == {"dead"}


async def test_bytes_a_minute_bound_it() -> None:
    """What exceeds the bound is counted, not kept; a minute later there is room again."""
    f = Fixture(per_minute=3 * (LETTER_BYTES + 1))
    keep = f.keeper()
    for n in range(10):
        keep(b"%d" % n, WHY, HEADERS)
    assert f.seen == {"dropped": 7}
    f.clock.pass_by(timedelta(minutes=5))
    for n in range(10):
        keep(b"%d" % n, WHY, HEADERS)
    await drained(keep)
    assert [r.value for r in f.outlet.sent] == [b"0", b"1", b"2", b"3", b"4", b"5"]


async def test_nothing_is_kept_with_an_allowance_of_nothing() -> None:
    """Checks the setting 0."""
    f = Fixture(per_minute=0)
    keep = f.keeper()
    keep(b"x", WHY, HEADERS)
    await drained(keep)
    assert (f.outlet.sent, f.seen) == ([], {"dropped": 1})


async def test_what_waits_is_bounded_while_the_broker_is_away() -> None:
    """A bounded number of bytes is held, and is sent once the broker is back."""
    f = Fixture(per_minute=10**9, outlet=FakeOutlet(failures=1))
    keep, size = f.keeper(), RAW_MESSAGE_BYTES_MAX
    keep(bytes(size + 1), WHY, HEADERS)
    for n in range(8):
        keep(bytes(size - 1) + b"%d" % n, WHY, HEADERS)
    room = WAITING_BYTES_MAX // (size + LETTER_BYTES)
    assert f.seen == {"dropped": 1 + 8 - room}
    stop = Stop()
    running = asyncio.create_task(keep.watch(stop))
    async with asyncio.timeout(30):
        while len(f.outlet.sent) < room:  # noqa: ASYNC110 (a fake has no event)
            await asyncio.sleep(0.05)
    stop.set()
    await running
    keep(b"later", WHY, HEADERS)
    await drained(keep)
    assert f.seen["kept"] == room + 1


async def test_a_broker_that_stays_away_is_counted() -> None:
    """At the end of the process, what still waits is dropped and counted."""
    f = Fixture(outlet=FakeOutlet(failures=1))
    keep = f.keeper()
    keep(b"x", WHY, HEADERS)
    await drained(keep)
    assert f.seen == {"dropped": 1}
