"""Fitting: determinism, splits by time, monotone trees, the backtest."""

from dataclasses import replace

import numpy as np
import pytest

from services.scoring.core.features.events import DAY_S
from services.scoring.core.features.registry import FEATURES, feature_index
from services.scoring.training.data.panel import Panel
from services.scoring.training.fit import backtest as backtesting
from services.scoring.training.fit import fit as fitting
from services.scoring.training.fit.backtest import apart, backtest, origins
from services.scoring.training.fit.baselines import NAMES
from services.scoring.training.fit.fit import fit
from services.scoring.training.fit.search import (
    SETTINGS,
    USUAL,
    held_out_from,
    search,
)
from services.scoring.training.fit.trees import (
    TREES_FALLBACK,
    grow,
    log_odds,
    parameters_for,
)
from shared.kernel.errors import Invalid
from tests.unit.scoring.training.histories import HORIZON_DAYS, panel


def test_two_fits_give_identical_predictions() -> None:
    one, two = fit(panel(), seed=1), fit(panel(), seed=1)
    assert one.booster.model_to_string() == two.booster.model_to_string()
    np.testing.assert_array_equal(log_odds(one.booster, panel().x, 1),
                                  log_odds(two.booster, panel().x, 1))  # fmt: skip


def test_the_number_of_threads_changes_nothing() -> None:
    settings = parameters_for(panel(), 1)
    one = grow(panel(), settings, trees=5, threads=1)
    two = grow(panel(), settings, trees=5, threads=2)
    np.testing.assert_array_equal(log_odds(one, panel().x, 1), log_odds(two, panel().x, 1))


def test_another_seed_gives_another_model() -> None:
    one, two = fit(panel(), seed=1), fit(panel(), seed=2)
    assert one.booster.model_to_string() != two.booster.model_to_string()


def test_what_stops_the_trees_had_not_begun_when_their_labels_matured() -> None:
    start = held_out_from(panel())
    assert start is not None
    first = panel().cutoffs[start]
    learned = panel().matured(first)
    assert all(c + HORIZON_DAYS * DAY_S <= first for c in learned.cutoffs)
    assert len(panel().cutoffs) - start == round(len(panel().cutoffs) / 4)


def test_origins_are_a_horizon_apart_and_end_with_the_last_cutoff() -> None:
    chosen = apart(panel().cutoffs, HORIZON_DAYS)
    assert chosen[-1] == len(panel().cutoffs) - 1
    at = np.array(panel().cutoffs)[chosen]
    assert np.all(np.diff(at) >= HORIZON_DAYS * DAY_S)
    assert set(chosen) <= set(origins(panel()))


def test_contenders_are_compared_at_the_origins_and_at_the_latest_cutoffs() -> None:
    fitted = fit(panel())
    latest = panel().cutoffs[-backtesting.LATER_MAX :]
    assert set(latest) | set(fitted.backtest.rows.cutoffs) == set(fitted.later.rows.cutoffs)
    assert np.all(np.diff(fitted.backtest.rows.cutoffs) >= HORIZON_DAYS * DAY_S)
    kept = np.isin(
        np.array(fitted.later.rows.cutoffs)[fitted.later.rows.at], fitted.backtest.rows.cutoffs
    )
    np.testing.assert_array_equal(fitted.backtest.log_odds, fitted.later.log_odds[kept])
    assert [len(part) for part in fitted.later.split(fitted.later.log_odds)] == [
        int((fitted.later.rows.at == at).sum()) for at in range(len(fitted.later.rows.cutoffs))
    ]


def test_the_backtest_of_an_origin_does_not_know_what_came_after() -> None:
    """Changing every label that had not matured by then changes none of its predictions."""
    whole = panel()
    chosen = origins(whole)
    at = chosen[-2]
    known = len(whole.matured(whole.cutoffs[at]))
    turned = replace(whole, silent=np.r_[whole.silent[:known], ~whole.silent[known:]])
    settings = parameters_for(whole, 1)
    honest = backtest(whole, settings, trees=20, threads=1)
    other = backtest(turned, settings, trees=20, threads=1)
    mine = honest.rows.at == len(chosen) - 2
    np.testing.assert_array_equal(honest.log_odds[mine], other.log_odds[mine])
    for name in NAMES:
        np.testing.assert_array_equal(honest.baselines[name][mine], other.baselines[name][mine])
    last = honest.rows.at == len(chosen) - 1
    assert not np.array_equal(honest.log_odds[last], other.log_odds[last])


def test_a_short_history_gets_a_fixed_number_of_trees_with_a_note() -> None:
    fitted = fit(panel().between(0, 2))
    assert fitted.trees == TREES_FALLBACK
    assert fitted.trees_chosen_by.startswith("fixed")
    assert "too little history" in fitted.choice.reason
    assert fitted.backtest.compared(fitted.scored(fitted.backtest)) == {}


def test_every_setting_is_tried_and_the_usual_one_kept_unless_clearly_beaten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("services.scoring.training.fit.search.SETTINGS", SETTINGS)
    parameters = parameters_for(panel(), 1)
    found = search(panel(), parameters, threads=1)
    assert all(name in found.chosen_by for name in SETTINGS)
    monkeypatch.setattr("services.scoring.training.fit.search.GAIN_MIN", 10.0)
    kept = search(panel(), parameters, threads=1)
    assert kept.parameters == parameters
    assert f"with {USUAL};" in kept.chosen_by
    monkeypatch.setattr("services.scoring.training.fit.search.GAIN_MIN", -10.0)
    best = search(panel(), parameters, threads=1)
    assert best.parameters in [{**parameters, **change} for change in SETTINGS.values()]


def test_one_label_is_refused() -> None:
    made = panel()
    only: Panel = replace(made, silent=np.ones(len(made), dtype=bool))
    with pytest.raises(Invalid, match="same label"):
        fit(only)


def test_longer_silence_alone_never_lowers_the_score() -> None:
    fitted = fit(panel())
    x = panel().x[:50]
    for name in [feature.name for feature in FEATURES if feature.monotone == 1]:
        scores = []
        for value in np.linspace(0, 60, 25):
            changed = x.copy()
            changed[:, feature_index[name]] = value
            scores.append(log_odds(fitted.booster, changed, 1))
        assert np.all(np.diff(np.array(scores), axis=0) >= 0), name


def test_a_small_panel_may_still_split() -> None:
    assert parameters_for(panel(), 1)["min_data_in_leaf"] == int(len(panel()) * 0.02)


def test_progress_names_every_stage() -> None:
    seen = set()
    fit(panel(), progress=lambda what, _done, _total: seen.add(what))
    assert seen == {"trial trees", "backtest", "trees"}


def test_the_seed_is_a_default_not_an_accident() -> None:
    assert fit(panel()).parameters["seed"] == fitting.SEED
