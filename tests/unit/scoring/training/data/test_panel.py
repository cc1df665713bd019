"""Rows at cutoffs: no leakage, labels at the boundary, censoring, bounds."""

import numpy as np
import pytest

from services.scoring.core.features.events import DAY_S, Kind
from services.scoring.core.features.registry import feature_index
from services.scoring.training.data.event_table import EventBatch, EventTable, from_columns
from services.scoring.training.data.leaks import snapshot
from services.scoring.training.data.panel import SUBSETS, build_panel
from shared.kernel.errors import Invalid
from tests.unit.scoring.training.histories import (
    DAYS,
    END,
    HORIZON_DAYS,
    batch,
    day,
    every,
    panel,
    purchases,
    shoppers,
)


def _silent(table: EventTable, cutoff: float, horizon: int = 10) -> dict[str, bool]:
    made = build_panel(table, [day(cutoff)], horizon, table.observed_until)
    names = [table.customers[at] for at in made.customer]
    return dict(zip(names, made.silent.tolist(), strict=True))


def test_the_label_window_takes_the_cutoff_and_leaves_its_end() -> None:
    """[T, T + H): a purchase at T counts as a return, one at T + H does not."""
    second = 1 / DAY_S
    table = purchases(
        ("at start", 1), ("at start", 20),
        ("at end", 1), ("at end", 30),
        ("just inside", 1), ("just inside", 30 - second),
        ("just before", 20 - second),
    )  # fmt: skip
    assert _silent(table, 20) == {
        "at start": False,
        "at end": True,
        "just inside": False,
        "just before": True,
    }


def test_only_a_purchase_before_the_cutoff_makes_a_customer_eligible() -> None:
    events = [
        ("before", Kind.PURCHASE, 19.9),
        ("at", Kind.PURCHASE, 20.0),
        ("looked", Kind.INTERACTION, 5.0),
    ]
    table = from_columns([batch(events)], day(60))
    assert _silent(table, 20) == {"before": True}


def test_an_interaction_or_a_refund_is_no_return() -> None:
    events = [
        ("a", Kind.PURCHASE, 1.0),
        ("a", Kind.INTERACTION, 22.0),
        ("a", Kind.REFUND, 23.0),
    ]
    assert _silent(from_columns([batch(events)], day(60)), 20) == {"a": True}


def test_a_cutoff_is_used_only_once_its_whole_horizon_was_observed() -> None:
    table = purchases(("a", 1), ("a", 40), until=60)
    cutoffs = [day(49), day(50), day(50) + 1]
    assert build_panel(table, cutoffs, 10, day(60)).cutoffs == (day(49), day(50))
    with pytest.raises(Invalid, match="none has a customer"):
        build_panel(table, [day(51)], 10, day(60))


def test_an_end_beyond_what_was_observed_is_refused() -> None:
    with pytest.raises(Invalid, match="last complete day"):
        build_panel(purchases(("a", 1), until=60), [day(20)], 10, day(61))


def test_a_future_event_changes_no_feature() -> None:
    """Events at or after a cutoff change no row at it."""
    table, cutoff = shoppers(60), 80.0
    before = build_panel(table, [day(50), day(cutoff)], HORIZON_DAYS, END)
    future = [(c, kind, cutoff + 1) for c in table.customers for kind in Kind]
    planted = from_columns([_as_batch(table), batch([*future, *future], amount=1e6)], END)
    after = build_panel(planted, [day(50), day(cutoff)], HORIZON_DAYS, END)
    np.testing.assert_array_equal(before.x, after.x)
    assert not after.silent[after.at == 1].any()


def test_folding_from_cutoff_to_cutoff_equals_folding_at_once() -> None:
    """Streaming folds batch by batch, training cutoff by cutoff: the numbers are the same."""
    made = panel()
    for at, cutoff in enumerate(made.cutoffs):
        rows = made.at == at
        once = snapshot(shoppers(), cutoff)[made.customer[rows]]
        np.testing.assert_allclose(made.x[rows], once, rtol=1e-9, atol=1e-9)


def test_thinning_keeps_the_bound_and_every_cutoff_and_reports_what_it_left_out() -> None:
    cutoffs = every(day(40), END, 7)
    thin = build_panel(shoppers(), cutoffs, HORIZON_DAYS, END, rows_max=500, seed=3)
    again = build_panel(shoppers(), cutoffs, HORIZON_DAYS, END, rows_max=500, seed=3)
    other = build_panel(shoppers(), cutoffs, HORIZON_DAYS, END, rows_max=500, seed=4)
    assert 430 <= len(thin) <= 570  # a random draw: three deviations
    assert thin.cutoffs == panel().cutoffs
    assert len(thin) + thin.rows_thinned == len(panel())
    np.testing.assert_array_equal(thin.customer, again.customer)
    assert not np.array_equal(thin.customer, other.customer)


def test_a_thinned_row_is_the_same_row() -> None:
    cutoffs = every(day(40), END, 7)
    thin = build_panel(shoppers(), cutoffs, HORIZON_DAYS, END, rows_max=500)
    whole = {(a, c): i for i, (a, c) in enumerate(zip(panel().at, panel().customer, strict=True))}
    rows = [whole[key] for key in zip(thin.at, thin.customer, strict=True)]
    np.testing.assert_array_equal(thin.x, panel().x[rows])
    np.testing.assert_array_equal(thin.silent, panel().silent[rows])


def test_matured_leaves_out_windows_that_touch_the_cutoff() -> None:
    made = panel()
    known = made.matured(made.cutoffs[5])
    assert known.cutoffs == made.cutoffs[:4]
    assert all(c + HORIZON_DAYS * DAY_S <= made.cutoffs[5] for c in known.cutoffs)
    assert made.cutoffs[4] + HORIZON_DAYS * DAY_S > made.cutoffs[5]
    assert len(known) == int((made.at < 4).sum())


def test_between_and_only_agree() -> None:
    made = panel()
    a, b = made.between(3, 5), made.only([3, 4])
    assert a.cutoffs == b.cutoffs
    np.testing.assert_array_equal(a.at, b.at)
    np.testing.assert_array_equal(a.x, b.x)
    apart = made.only([1, 4])
    rows = [int((made.at == 1).sum()), int((made.at == 4).sum())]
    np.testing.assert_array_equal(apart.at, np.repeat([0, 1], rows))
    np.testing.assert_array_equal(apart.customer[: rows[0]], made.customer[made.at == 1])


def test_subsets_are_what_their_names_say() -> None:
    made = panel()
    days = made.x[:, feature_index["purchase_days"]]
    recency = made.x[:, feature_index["recency_days"]]
    assert made.subset("all").all()
    np.testing.assert_array_equal(made.subset("ge2"), days >= 2)
    np.testing.assert_array_equal(made.subset("active"), recency <= HORIZON_DAYS)
    with pytest.raises(Invalid, match="all, ge2, active"):
        made.subset("vip")
    assert SUBSETS == ("all", "ge2", "active")


def test_large_cutoffs_are_computed_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = panel()
    monkeypatch.setattr("services.scoring.training.data.panel.FEATURE_ROWS_MAX", 37)
    pieces = build_panel(shoppers(), every(day(40), END, 7), HORIZON_DAYS, END)
    np.testing.assert_array_equal(whole.x, pieces.x)


def test_progress_counts_cutoffs() -> None:
    seen: list[tuple[str, int, int]] = []
    table = purchases(("a", 1), until=DAYS)
    build_panel(table, [day(20), day(30)], 10, END, progress=lambda *step: seen.append(step))
    assert seen == [("features", 1, 2), ("features", 2, 2)]


def _as_batch(table: EventTable) -> EventBatch:
    return EventBatch([table.customers[row] for row in table.events.row], table.events)
