"""Transfer of the score to other horizons: fitted on matured labels, never beyond the end."""

import numpy as np

from services.scoring.core.features.events import Kind
from services.scoring.core.risk.horizons import AS_RHYTHM
from services.scoring.core.risk.odds import sigmoid
from services.scoring.training.data.event_table import from_columns
from services.scoring.training.data.panel import (
    RETURNED,
    SILENT,
    UNKNOWN,
    RowOptions,
    build_panel,
)
from services.scoring.training.fit.horizons import LABEL_MIN, fit_bridge
from services.scoring.training.fit.train import train
from tests.unit.scoring.training.histories import (
    END,
    HORIZON_DAYS,
    batch,
    day,
    every,
    purchases,
    shoppers,
)

OTHERS = RowOptions(others=(7, 30, 90))


def test_the_three_numbers_are_found_again() -> None:
    random = np.random.default_rng(3)
    z, moved = random.normal(0, 1.5, 20_000), random.normal(-0.7, 0.5, 20_000)
    silent = random.random(20_000) < sigmoid(0.3 + 0.8 * z + 0.6 * moved)
    half = np.full(20_000, 0.5)
    found = fit_bridge(sigmoid(z), half, sigmoid(moved), silent, np.ones(20_000))
    assert abs(found.intercept - 0.3) < 0.08
    assert abs(found.slope - 0.8) < 0.08
    assert abs(found.rhythm - 0.6) < 0.08


def test_what_the_rows_cannot_tell_apart_stays_as_the_rhythm_has_it() -> None:
    half = np.full(400, 0.5)
    silent = np.arange(400) % 2 == 0
    found = fit_bridge(half, half, half, silent, np.ones(400))
    assert found == AS_RHYTHM


def test_labels_of_other_horizons_are_the_history_s() -> None:
    table = purchases(("a", 1), ("a", 45), ("b", 2), until=100)
    rows = build_panel(
        table, [day(20), day(40)], 10, day(100), asked=RowOptions(others=(30, 70, 5))
    )
    assert rows.others == (5, 30, 70)
    at = {(int(t), int(c)): over.tolist() for t, c, over in zip(rows.at, rows.customer, rows.over,
                                                                strict=True)}  # fmt: skip
    assert at[0, 0] == [SILENT, RETURNED, RETURNED]
    assert at[0, 1] == [SILENT, SILENT, SILENT]
    assert at[1, 0] == [SILENT, RETURNED, UNKNOWN]  # 40 + 70 days lie beyond the end
    assert at[1, 1] == [SILENT, SILENT, UNKNOWN]


def test_a_purchase_after_the_end_changes_no_label() -> None:
    """The history goes on after the end of training, and none of that is read."""
    end = END - 40 * 86_400
    known = purchases(("a", 1), ("b", 2), until=150)
    planted = from_columns(
        [batch([(c, Kind.PURCHASE, at) for c, at in [("a", 1), ("b", 2), ("a", 112), ("b", 120)]])],
        END,
    )
    before, after = (
        build_panel(table, every(day(40), end, 14), HORIZON_DAYS, end, asked=OTHERS)
        for table in (known, planted)
    )
    np.testing.assert_array_equal(before.over, after.over)
    assert (before.over == UNKNOWN).any()


def test_training_fits_matured_horizons_and_reports_them() -> None:
    trained = train(shoppers(), END, HORIZON_DAYS, asked=OTHERS)
    over, card = trained.model.artefact.over, trained.model.card.horizons
    assert set(over.bridges) == set(card) - {
        days for days, one in card.items() if "too few" in one.decision
    }
    assert {"7", "30"} <= set(over.bridges)
    for days in over.bridges:
        rate = card[days].base_rate
        assert card[days].rows >= 2 * LABEL_MIN
        # These shoppers follow the rhythm's formula: no model can be much better than it.
        assert card[days].log_loss < -(rate * np.log(rate) + (1 - rate) * np.log(1 - rate)) - 0.05
    plain = train(shoppers(), END, HORIZON_DAYS)
    x = trained.latest
    np.testing.assert_array_equal(trained.model.predict(x), plain.model.predict(x))
