"""The lag of a service: what is computed from readings, and what grows between them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.kafka.lag import HEAD_S, Bounds, Instant, Lag, Position, by_topic

TP = ("raw", 0)
BEGIN_UNIX_S = 1_000_000.0


def at(seconds: float) -> Instant:
    """Return an instant so many seconds after the start, on both clocks."""
    return Instant(BEGIN_UNIX_S + seconds, seconds)


def note(
    lag: Lag, seconds: float, offset: int | None, end: int, mark: object = None, begin: int = 0
) -> dict[tuple[str, int], int]:
    """Give the lag one reading of its only partition; return what is to be searched."""
    return lag.note(at(seconds), {TP: Position(offset, mark)}, {TP: Bounds(begin, end)})


def test_nothing_waits() -> None:
    """All ages are 0, however long ago the last reading was."""
    lag = Lag()
    assert lag.age(0) is None
    assert note(lag, 0, 5, 5) == {}
    assert lag.records() == {TP: 0}
    assert lag.seconds(BEGIN_UNIX_S + 100) == {TP: 0}
    assert lag.uncommitted(100) == {TP: 0}
    assert lag.age(100) == 100


def test_a_stall_grows_between_readings() -> None:
    """The ages go on while nothing is read at all."""
    lag = Lag()
    note(lag, 0, 5, 5)
    assert note(lag, 1, 5, 8) == {}, "the records came since the reading before: no search"
    assert lag.records() == {TP: 3}
    assert lag.seconds(BEGIN_UNIX_S + 1) == {TP: 1}
    assert lag.seconds(BEGIN_UNIX_S + 31) == {TP: 31}
    assert lag.uncommitted(31) == {TP: 30}


def test_the_first_waiting_record_gives_the_age() -> None:
    """Of a backlog that was there before the first reading, its own time counts."""
    lag = Lag()
    assert note(lag, 0, 5, 8) == {TP: 5}
    lag.heads(at(0), {TP: BEGIN_UNIX_S - 600})
    assert lag.seconds(BEGIN_UNIX_S + 1) == {TP: 601}
    assert note(lag, 1, 5, 9) == {}, "it is still the same record"
    assert note(lag, 2, 6, 9) == {}, "searched again only after a while"
    assert note(lag, HEAD_S, 7, 9) == {TP: 7}
    lag.heads(at(HEAD_S), {TP: BEGIN_UNIX_S})
    assert lag.seconds(BEGIN_UNIX_S + HEAD_S) == {TP: HEAD_S}


def test_a_search_that_found_nothing_in_time_is_repeated() -> None:
    """Meanwhile the age counts from the first reading in which a record waited."""
    lag = Lag()
    assert note(lag, 0, None, 3) == {TP: 0}
    lag.heads(at(0), {})
    assert note(lag, 1, None, 3) == {TP: 0}
    assert lag.seconds(BEGIN_UNIX_S + 1) == {TP: 1}


def test_a_record_without_a_believable_time_counts_from_its_first_reading() -> None:
    """Its sender dated it before 1970, or it is unreadable."""
    lag = Lag()
    note(lag, 0, 0, 3)
    lag.heads(at(0), {TP: 0.0})
    assert lag.seconds(BEGIN_UNIX_S + 4) == {TP: 4}


def test_markers_are_no_lag() -> None:
    """Behind the last record there may be entries that no reader receives."""
    lag = Lag()
    assert note(lag, 0, 5, 7) == {TP: 5}
    lag.heads(at(0), {TP: None})
    assert lag.records() == {TP: 0}
    assert lag.uncommitted(50) == {TP: 0}
    assert note(lag, 1, 5, 7) == {}
    assert lag.records() == {TP: 0}
    assert note(lag, 2, 5, 9) == {TP: 5}, "something came behind them"
    lag.heads(at(2), {TP: BEGIN_UNIX_S + 1.5})
    assert lag.records() == {TP: 4}
    assert lag.seconds(BEGIN_UNIX_S + 2) == {TP: 0.5}


def test_what_retention_took_does_not_wait() -> None:
    """The log begins behind the position."""
    lag = Lag()
    note(lag, 0, 5, 12, begin=10)
    assert lag.records() == {TP: 2}


@pytest.mark.parametrize("moves", [{"offset": 6}, {"mark": "later"}])
def test_a_commit_ends_the_wait(moves: dict[str, object]) -> None:
    """Of a larger offset, and of an equal one: a sweep commits without consuming."""
    lag = Lag()
    note(lag, 0, 5, 9, "first")
    note(lag, 9, **({"offset": 5, "mark": "first"} | moves), end=9)  # type: ignore[arg-type]
    assert lag.uncommitted(10) == {TP: 1}


def test_partitions_that_are_gone_go() -> None:
    """A topic was deleted, or a mapping no longer names it."""
    lag = Lag()
    note(lag, 0, 0, 3)
    lag.note(at(1), {}, {})
    lag.heads(at(1), {TP: BEGIN_UNIX_S})
    assert (lag.records(), lag.seconds(BEGIN_UNIX_S), lag.uncommitted(1)) == ({}, {}, {})


def test_the_longest_of_a_topic() -> None:
    """One stuck partition shows beside those that move."""
    ages = {("a", 0): 1.0, ("a", 1): 7.0, ("b", 0): 0.0}
    assert by_topic(ages, ["b", "c"]) == {"a": 7.0, "b": 0.0, "c": 0.0}


@st.composite
def readings(draw: st.DrawFn) -> list[tuple[int, int]]:
    """Positions and ends that only grow, the position never behind the end."""
    steps = draw(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=20))
    offset, end, found = 0, 0, []
    for moved, came in steps:
        end += came
        offset = min(offset + moved, end)
        found.append((offset, end))
    return found


@given(readings())
def test_ages_are_those_of_a_reader_that_sees_everything(steps: list[tuple[int, int]]) -> None:
    """Record n comes at the reading that first shows it; the search finds its time.

    The records are exact; the age is never below the true one, and above it by less than a reading
    or, while the partition moves on, than `HEAD_S`.
    """
    lag, came = Lag(), dict[int, float]()
    for second, (offset, end) in enumerate(steps):
        for number in range(len(came), end):
            came[number] = float(second)
        for tp, asked in note(lag, second, offset, end).items():
            lag.heads(at(second), {tp: BEGIN_UNIX_S + came[asked]})
        waits = end - offset
        assert lag.records() == {TP: waits}
        true = second - came[offset] if waits else 0.0
        assert true <= lag.seconds(BEGIN_UNIX_S + second)[TP] <= true + (HEAD_S if waits else 0)
