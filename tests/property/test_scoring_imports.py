"""Running imports follow from what was read, in any order of records and ends."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from services.scoring.core.imports import ENDED_MAX, described, end, note, resting, under_way

NAMES = st.sampled_from(["a", "b", "\x1b[2J", "x" * 300])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("note"), NAMES, st.integers(0, 2**41)),
        st.tuples(st.just("end"), st.none() | NAMES, st.just(0)),
    ),
    max_size=30,
)


def play(steps: list[tuple[str, str | None, int]]) -> dict[str, Any]:
    """Returns the progress notes of a partition after these steps."""
    progress: dict[str, Any] = {"now": 5.0}
    for step, name, at in steps:
        if step == "end":
            end(progress, name)
        elif name is not None:
            note(progress, [(name, at)])
    return progress


@given(STEPS, NAMES)
def test_an_end_ends_its_import_and_no_other(
    steps: list[tuple[str, str | None, int]], name: str
) -> None:
    """It is over in any case, and stays over when its records come late; another running one goes
    on."""
    progress = play(steps)
    before = under_way(progress)
    end(progress, name)
    note(progress, [(name, 7)])
    assert under_way(progress) == (None if before == name else before)
    assert progress["now"] == 5.0
    assert len(progress["ended"]) <= ENDED_MAX


@given(STEPS)
def test_an_end_without_a_name_ends_what_is_under_way(
    steps: list[tuple[str, str | None, int]],
) -> None:
    """It keeps only the fact that it has ended."""
    progress = play(steps)
    before = under_way(progress)
    end(progress, None)
    assert under_way(progress) is None
    assert set(progress) <= {"now", "ended"}
    assert before is None or progress["ended"][-1] == before


@given(st.lists(STEPS, max_size=6))
def test_every_partition_that_rests_is_shown(
    each: list[list[tuple[str, str | None, int]]],
) -> None:
    """Once, with the newest arrival of all of them, as a short line of printable text."""
    partitions = [(number, play(steps)) for number, steps in enumerate(each)]
    found = resting(partitions)
    assert {n: one.name for one in found for n in one.partitions} == {
        n: name for n, progress in partitions if (name := under_way(progress)) is not None
    }
    for one in found:
        arrivals = [
            at
            for n in one.partitions
            for step, name, at in each[n]
            if step == "note" and name == one.name
        ]
        assert one.newest is not None
        assert one.newest.timestamp() * 1_000 <= max(arrivals) + 1
        assert described(one).isprintable()
        assert len(described(one)) < 250
