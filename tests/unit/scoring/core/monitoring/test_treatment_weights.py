"""Treated customers do not count as those who would have stayed."""

from datetime import UTC, datetime

import numpy as np
import pytest

from services.scoring.core.features.events import Kind
from services.scoring.core.monitoring.treatment_weights import (
    HELD_OUT,
    HELD_OUT_MIN,
    TREATED,
    UNTREATED,
    WEIGHT_MAX,
    TreatmentWindow,
    treatments_of,
    weigh,
)
from services.scoring.training.data.event_table import EventTable, from_columns
from services.scoring.training.data.panel import RowOptions, build_panel
from tests.unit.scoring.training.histories import batch, day

H = 10
CUTOFF = 50.0


def _at(number: float) -> datetime:
    return datetime.fromtimestamp(day(number), UTC)


def _arm(start: float, until: float | None, back: float, *, held_out: bool = False) -> int:
    window = TreatmentWindow("c", held_out, _at(start), None if until is None else _at(until))
    treatments = treatments_of([window], ["b", "c"])
    found = treatments.arms(day(CUTOFF), H, np.array([np.inf, day(back)]))
    assert found[0] == UNTREATED
    return int(found[1])


@pytest.mark.parametrize(
    ("start", "until", "back", "arm"),
    [
        (52, 62, 55, TREATED),  # came back after the task
        (52, 62, 1e4, TREATED),  # did not come back
        (52, 62, 51, UNTREATED),  # had bought again before the task began
        (45, 55, 51, TREATED),  # the task was open at the cutoff
        (30, 40, 55, UNTREATED),  # over before the cutoff
        (60, 70, 55, UNTREATED),  # after the horizon
        (45, None, 51, TREATED),  # without an end: a horizon long
        (39, None, 51, UNTREATED),
    ],
)
def test_a_row_is_treated_from_when_the_task_could_change_its_outcome(
    start: float, until: float | None, back: float, arm: int
) -> None:
    assert _arm(start, until, back) == arm
    held = HELD_OUT if arm == TREATED else UNTREATED
    assert _arm(start, until, back, held_out=True) == held


def test_a_task_after_a_holdout_is_a_treatment() -> None:
    windows = [
        TreatmentWindow("c", True, _at(51), _at(61)),
        TreatmentWindow("c", False, _at(53), _at(63)),
    ]
    for order in (windows, windows[::-1]):
        treatments = treatments_of(order, ["c"])
        assert treatments.arms(day(CUTOFF), H, np.array([np.inf])).tolist() == [TREATED]


def test_customers_that_a_table_does_not_have_are_left_out() -> None:
    assert len(treatments_of([TreatmentWindow("x", False, _at(1), None)], ["a"]).customer) == 0


def test_with_a_holdout_the_held_out_stand_for_the_treated() -> None:
    """The weights of all rows add up to their number: no row is counted twice or lost."""
    arm = np.repeat(np.array([UNTREATED, TREATED, HELD_OUT], np.int8), [500, 240, 60])
    weight, sentence = weigh(arm, np.zeros(len(arm), bool))
    assert set(weight[arm == TREATED]) == {0.0}
    assert set(weight[arm == HELD_OUT]) == {5.0}
    assert weight.sum() == len(arm)
    assert "240 treated rows left out; 60 held-out rows count 5.00 each" in sentence


def test_a_small_holdout_has_a_bounded_weight() -> None:
    arm = np.repeat(np.array([TREATED, HELD_OUT], np.int8), [10_000, HELD_OUT_MIN])
    weight, _ = weigh(arm, np.zeros(len(arm), bool))
    assert weight.max() == WEIGHT_MAX


def test_without_a_holdout_a_return_after_a_task_counts_half() -> None:
    """A silence in spite of the task counts whole: no task makes a customer leave."""
    arm = np.repeat(np.array([UNTREATED, TREATED], np.int8), [4, 4])
    silent = np.array([True, False] * 4)
    weight, sentence = weigh(arm, silent)
    assert weight.tolist() == [1, 1, 1, 1, 1, 0.5, 1, 0.5]
    assert "no usable holdout" in sentence


N = 2_000


def _world() -> tuple[EventTable, list[TreatmentWindow], np.ndarray]:
    """Provide customers who have all bought; half would return by themselves.

    At the cutoff three in four get a task that brings back half of those who would have left; one
    in four is held out.
    """
    random = np.random.default_rng(8)
    would_return = random.random(N) < 0.5
    held_out = random.random(N) < 0.25
    saved = ~held_out & ~would_return & (random.random(N) < 0.5)
    names = [f"c{n:04}" for n in range(N)]
    events = [(name, Kind.PURCHASE, 20.0) for name in names]
    events += [(names[n], Kind.PURCHASE, 55.0) for n in np.flatnonzero(would_return | saved)]
    windows = [
        TreatmentWindow(name, bool(held), _at(CUTOFF), _at(CUTOFF + H))
        for name, held in zip(names, held_out, strict=True)
    ]
    return from_columns([batch(events)], day(100)), windows, would_return


def test_training_sees_the_rate_of_those_left_alone() -> None:
    """Read naively the history shows that a quarter leave; without tasks, half would have."""
    table, windows, would_return = _world()
    naive = build_panel(table, [day(CUTOFF)], H, day(100))
    assert naive.silent.mean() < 0.36
    panel = build_panel(table, [day(CUTOFF)], H, day(100), asked=RowOptions(windows))
    rate = np.average(panel.silent, weights=panel.weight)
    assert rate == pytest.approx(1 - would_return.mean(), abs=0.04)
    assert panel.weight.sum() == pytest.approx(N, rel=0.01)
    assert "held-out rows count" in panel.treatment
    assert not (panel.arm == TREATED).any()
