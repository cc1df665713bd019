"""From a history to a model with an accurate card."""

from datetime import UTC, datetime

import numpy as np
import pytest

from services.scoring.core.features.events import DAY_S, Kind
from services.scoring.model.churn_model import dumps
from services.scoring.training.data.event_table import EventBatch, from_columns
from services.scoring.training.fit import train as training
from services.scoring.training.fit.baselines import NAMES
from services.scoring.training.fit.train import train, usual_cutoffs
from shared.kernel.errors import Invalid
from tests.unit.scoring.training.histories import (
    END,
    HORIZON_DAYS,
    START,
    batch,
    day,
    purchases,
    shoppers,
    trained,
)


def test_the_card_describes_what_the_model_saw() -> None:
    model, report = trained()
    card = model.card
    assert card == report.card
    assert card.horizon_days == HORIZON_DAYS
    assert card.labels_end == datetime.fromtimestamp(END, UTC).isoformat()
    assert card.cutoffs == [
        datetime.fromtimestamp(c, UTC).isoformat()
        for c in usual_cutoffs(shoppers(), END, HORIZON_DAYS)
    ]
    assert set(card.validation) == {"all", "ge2", "active"}
    assert card.data_fingerprint == shoppers().fingerprint(END)
    assert set(card.libraries) == {"lightgbm", "numpy"}
    assert 0.0 < card.base_rate < 1.0


def test_the_report_compares_on_the_same_rows() -> None:
    _, report = trained()
    assert set(report.compared) == {*NAMES, "rule", "trees", "model"}
    assert {m["all"]["rows"] for m in report.compared.values()} == {
        report.card.validation["all"]["rows"]
    }
    assert 0 < sum(report.importance.values()) <= 1 + 1e-9


def test_the_model_ranks_better_than_chance_on_what_it_had_not_seen() -> None:
    auc = trained()[0].card.validation["all"]["roc_auc"]
    assert auc is not None
    assert auc > 0.7


def test_the_same_history_gives_the_same_version() -> None:
    # Not `trained()`: another file may have made that one with a quicker search.
    once, again = (train(shoppers(), END, HORIZON_DAYS).model for _ in range(2))
    assert dumps(again) == dumps(once)
    assert again.version == once.version


def test_what_happens_after_the_end_changes_nothing() -> None:
    """Training up to a day gives the same bytes whether or not the later days are there."""
    end = day(100)
    full = train(shoppers(), end, HORIZON_DAYS).model
    events = shoppers().between(-np.inf, end)
    names = [shoppers().customers[row] for row in events.row]
    late = [(c, Kind.INTERACTION, 149.0) for c in sorted(set(shoppers().customers) - set(names))]
    cut = from_columns([EventBatch(names, events), batch(late)] if late else
                       [EventBatch(names, events)], END)  # fmt: skip
    assert train(cut, end, HORIZON_DAYS).model.version == full.version


def test_a_feature_that_knows_the_future_stops_the_training(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(training, "leaking", lambda _table, _cutoff: ["spent"])
    with pytest.raises(Invalid, match="know the future: spent"):
        train(shoppers(), END, HORIZON_DAYS)


def test_usual_cutoffs_are_midnights_with_a_whole_horizon() -> None:
    cutoffs = usual_cutoffs(shoppers(), END, HORIZON_DAYS)
    assert cutoffs[-1] == END - HORIZON_DAYS * DAY_S
    assert all(cutoff % DAY_S == 0 for cutoff in cutoffs)
    assert cutoffs == sorted(cutoffs)


@pytest.mark.parametrize("horizon", [7, 14, 28, 30, 56, 91])
def test_usual_cutoffs_see_every_weekday(horizon: int) -> None:
    table = purchases(("a", 0), until=2_000)
    weekdays = {int(c // DAY_S) % 7 for c in usual_cutoffs(table, day(2_000), horizon)}
    assert len(weekdays) == 7


def test_usual_cutoffs_are_bounded_and_the_latest() -> None:
    table = purchases(("a", 0), until=5_000)
    cutoffs = usual_cutoffs(table, day(5_000), 28)
    assert len(cutoffs) == training.CUTOFFS_MAX
    assert cutoffs[-1] == day(5_000 - 28)


def test_usual_cutoffs_leave_a_warm_up_but_not_all_of_a_short_history() -> None:
    table = purchases(("a", 0), until=400)
    assert usual_cutoffs(table, day(400), 28)[0] >= START + 3 * 28 * DAY_S
    assert usual_cutoffs(table, day(60), 28)[0] < START + 28 * DAY_S


def test_less_than_a_horizon_of_history_is_refused() -> None:
    with pytest.raises(Invalid, match="less than one horizon"):
        usual_cutoffs(purchases(("a", 0), until=20), day(20), 28)
