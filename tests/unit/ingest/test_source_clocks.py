"""Clocks of sources: which are named as wrong, and what is bounded."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from services.ingest.core.source_clocks import (
    CANDIDATES_MAX,
    EVENTS_MIN,
    OTHER,
    SAMPLES,
    SOURCES_MAX,
    SourceClocks,
    SourceReport,
    Timing,
    clock_fault,
    duration,
)
from services.ingest.handlers.accept_batch import DecidedBatch
from services.ingest.handlers.watch_clocks import NAMED_S, NOTED_MAX, ClockWatch
from shared.kernel.errors import Invalid, Transient
from tests.unit.ingest.events import encoded
from tests.unit.ingest.fakes import NOW

AT_S = NOW.timestamp()
FUTURE = Invalid("time", "3:00:00 after its arrival, at most 15 minutes are")


@dataclass(slots=True)
class FakeDays:
    """Keeps what is stored; the first `failures` calls fail."""

    added: list[SourceReport] = field(default_factory=list)
    failures: int = 0

    async def add(self, reports: Sequence[SourceReport], _: datetime) -> None:
        if self.failures:
            self.failures -= 1
            raise Transient("no database")
        self.added += reports


@dataclass(slots=True)
class MovableClock:
    """A clock that the test moves."""

    seconds: float = 0.0

    def now(self) -> datetime:
        return NOW

    def monotonic(self) -> float:
        return self.seconds


def _batch(source: str, aheads: Iterable[float]) -> DecidedBatch:
    return DecidedBatch(timings=[Timing(source, AT_S + ahead, ahead) for ahead in aheads])


@pytest.mark.parametrize(
    ("aheads", "future", "named"),
    [
        ([-0.3] * 99, 0, None),
        ([-3600.0 * (n % 12) for n in range(99)], 0, None),  # a job every twelve hours
        ([-86_400.0 * 3000] * 99, 0, None),  # a history played as live
        ([-28_800.0 - n % 5 for n in range(99)], 0, "steadily 8:00:02 before the arrival"),
        ([240.0] * 99, 0, "0:04:00 or more after the arrival"),
        ([-0.3] * 99, 1, "1% of its events are refused"),
        ([-0.3] * 150, 1, None),
        ([], EVENTS_MIN, "100% of its events are refused"),
        ([240.0] * (EVENTS_MIN - 1), 0, None),
    ],
)
def test_which_clocks_are_wrong(aheads: list[float], future: int, named: str | None) -> None:
    """Ahead, steadily behind, refused as future; never for a delay, or from a few events."""
    ordered, last = sorted(aheads), len(aheads) - 1
    median = ordered[last // 2] if aheads else None
    spread = ordered[round(last * 0.9)] - ordered[round(last * 0.1)] if aheads else None
    fault = clock_fault("till", len(aheads), future, median, spread)
    if named is None:
        assert fault is None
    else:
        assert fault is not None
        assert named in fault


def test_a_source_is_observed_once_it_is_known() -> None:
    """Its first events count as `other`; then it has its own median, newest event and counts."""
    clocks = SourceClocks()
    for n in range(EVENTS_MIN + 4):
        clocks.accepted(Timing("till", AT_S + n, -2.0))
    clocks.refused("till")
    other, till = clocks.take()
    assert (other.source, other.accepted) == (OTHER, EVENTS_MIN - 1)
    assert (till.source, till.accepted, till.future) == ("till", 5, 1)
    assert (till.newest_s, till.median_s, till.spread_s) == (AT_S + EVENTS_MIN + 3, -2.0, 0.0)
    assert clocks.take() == []


def test_bounded_whatever_the_sources_are_called() -> None:
    """A name for each event takes no place; real sources beyond the bound count as `other`."""
    clocks = SourceClocks()
    for n in range(3 * CANDIDATES_MAX):
        clocks.accepted(Timing(f"order-{n}", AT_S, 0.0))
    assert [one.source for one in clocks.take()] == [OTHER]
    for n in range(SOURCES_MAX + 5):
        for _ in range(EVENTS_MIN):
            clocks.accepted(Timing(f"shop-{n}", AT_S, 0.0))
    names = [one.source for one in clocks.take()]
    assert names == [OTHER, *(f"shop-{n}" for n in range(SOURCES_MAX))]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=200))
def test_every_event_is_counted_once(events: list[tuple[str, bool]]) -> None:
    """Whatever the order, all reports together count all events."""
    clocks = SourceClocks()
    for source, future in events:
        if future:
            clocks.refused(source)
        else:
            clocks.accepted(Timing(source, AT_S, 0.0))
    found = clocks.take()
    assert sum(one.accepted + one.future for one in found) == len(events)


async def test_a_wrong_clock_is_named_and_forgotten() -> None:
    """In the note and once in the log, until its newest events are right again."""
    clock, days = MovableClock(), FakeDays()
    reports: list[SourceReport] = []
    watch = ClockWatch(days, clock, reports.append)
    with structlog.testing.capture_logs() as logs:
        watch.batch(_batch("till", [-28_800.0] * 2 * EVENTS_MIN))
        await watch.once()
        watch.batch(_batch("till", [-28_800.0]))  # few events: it is still wrong
        await watch.once()
        note = await watch.note()
        assert note is not None
        assert note.startswith("'till': its times are steadily 8:00:00")
        clock.seconds = NAMED_S
        watch.batch(_batch("till", [-0.2] * SAMPLES))
        await watch.once()
        assert await watch.note() is None
    assert [(one["log_level"], one["source"]) for one in logs] == [
        ("warning", "till"),
        ("info", "till"),
    ]
    assert [one.source for one in reports] == [OTHER, "till", "till", "till"]
    assert sum(one.accepted for one in days.added) == 2 * EVENTS_MIN + 1 + SAMPLES


async def test_the_log_is_bounded() -> None:
    """A verdict that changes back and forth is logged once in ten minutes."""
    watch = ClockWatch(FakeDays(), MovableClock(), lambda _: None)
    with structlog.testing.capture_logs() as logs:
        for _ in range(3):
            for ahead in (-28_800.0, 0.0):
                watch.batch(_batch("till", [ahead] * SAMPLES))
                await watch.once()
    assert len(logs) == 1


async def test_the_note_is_bounded() -> None:
    """It names some sources and counts the others."""
    watch = ClockWatch(FakeDays(), MovableClock(), lambda _: None)
    for n in range(NOTED_MAX + 2):
        watch.batch(_batch(f"shop-{n:02}", [120.0] * 2 * EVENTS_MIN))
    await watch.once()
    note = await watch.note()
    assert note is not None
    assert note.count("after the arrival") == NOTED_MAX
    assert note.endswith("and 2 more")


async def test_counts_wait_for_the_database() -> None:
    """Nothing is lost or counted twice when a store fails."""
    days = FakeDays(failures=2)
    watch = ClockWatch(days, MovableClock(), lambda _: None)
    for failing in (True, True, False):
        watch.batch(_batch("till", [0.0] * EVENTS_MIN))
        if failing:
            with pytest.raises(Transient):
                await watch.once()
        else:
            await watch.once()
    assert sum(one.accepted for one in days.added) == 3 * EVENTS_MIN
    assert [one.source for one in days.added] == [OTHER, "till"]


async def test_future_events_over_http_count_too() -> None:
    """Other refusals do not."""
    days = FakeDays()
    watch = ClockWatch(days, MovableClock(), lambda _: None)
    for _ in range(EVENTS_MIN):
        watch.refused(encoded(), FUTURE, ())
        watch.refused(encoded(), Invalid("data.amount", "malformed"), ())
    watch.refused(b"?", FUTURE, ())
    await watch.once()
    assert [(one.source, one.future) for one in days.added] == [
        (OTHER, EVENTS_MIN),
        ("shop/till", 1),
    ]


@given(st.floats(-1e12, 1e12))
def test_durations_are_readable(seconds: float) -> None:
    """Hours, minutes and seconds that add up to the rounded number."""
    sign = -1 if (text := duration(seconds)).startswith("-") else 1
    hours, minutes, rest = text.lstrip("-").replace(",", "").split(":")
    assert sign * (int(hours) * 3600 + int(minutes) * 60 + int(rest)) == round(seconds)
