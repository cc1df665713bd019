"""A test cutoff is held out: nothing later is known, and there is always a model to answer."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from services.scoring.core.features.events import Kind
from services.scoring.reports.model_card import card_page
from services.scoring.training.data.event_table import EventTable, from_columns
from services.scoring.training.evaluation.figures import figures, instant
from services.scoring.training.evaluation.held_out import (
    CHOSEN,
    WOULD_SERVE,
    HeldOutCutoff,
    hold_out,
)
from services.scoring.training.fit.baselines import NAMES
from shared.kernel.errors import Invalid
from shared.report.page import render
from tests.unit.scoring.training.histories import HORIZON_DAYS, batch, day, purchases, shoppers

CUTOFF = day(130)


@cache
def held() -> HeldOutCutoff:
    return hold_out(shoppers(), CUTOFF, HORIZON_DAYS)


def _until(table: EventTable, end: float) -> EventTable:
    return replace(table, events=table.between(-np.inf, end), observed_until=end)


def test_every_contender_predicts_every_customer() -> None:
    bought = int((shoppers().first_purchases() < CUTOFF).sum())
    assert set(held().predictions) == {*NAMES, "rule", "lightgbm", CHOSEN, WOULD_SERVE}
    for p in held().predictions.values():
        assert p.shape == (bought,)
        assert np.all((p >= 0) & (p <= 1))


def test_what_happens_after_the_cutoff_changes_no_prediction() -> None:
    blind = hold_out(_until(shoppers(), CUTOFF), CUTOFF, HORIZON_DAYS)
    for name, p in held().predictions.items():
        np.testing.assert_array_equal(blind.predictions[name], p)
    assert held().labelled
    assert not blind.labelled


def test_the_training_labels_end_before_the_cutoff() -> None:
    trained = held().trained
    assert trained is not None
    assert max(trained.panel.cutoffs) + HORIZON_DAYS * 86_400 <= CUTOFF


def test_a_cutoff_that_was_not_observed_has_predictions_and_no_measures() -> None:
    blind = hold_out(_until(shoppers(), CUTOFF), CUTOFF, HORIZON_DAYS)
    found = figures([held(), blind], HORIZON_DAYS, {})
    assert [bool(one["models"]) for one in found["cutoffs"]] == [True, False]
    assert found["mean"][CHOSEN] == found["cutoffs"][0]["models"][CHOSEN]
    assert "observed to its end" in render(card_page("x", [blind], figures([blind], 14, {})))


def test_no_label_reaches_beyond_the_end_of_the_file() -> None:
    """For a cutoff after the last day, what was not recorded does not count as silence."""
    found = hold_out(_until(shoppers(), day(100)), CUTOFF, HORIZON_DAYS)
    assert found.trained is not None
    assert max(found.trained.panel.cutoffs) + HORIZON_DAYS * 86_400 <= day(100)


def test_a_file_may_end_a_little_early() -> None:
    nearly = CUTOFF + (HORIZON_DAYS - 0.5) * 86_400
    assert hold_out(_until(shoppers(), nearly), CUTOFF, HORIZON_DAYS).labelled
    short = CUTOFF + (HORIZON_DAYS - 2) * 86_400
    assert not hold_out(_until(shoppers(), short), CUTOFF, HORIZON_DAYS).labelled


@pytest.mark.parametrize("cutoff", [2, 20, 31], ids=["no panel", "one cutoff", "few cutoffs"])
def test_a_short_history_is_answered_by_what_needs_no_labels(cutoff: float) -> None:
    found = hold_out(shoppers(), day(cutoff), HORIZON_DAYS)
    assert found.name in {"mbg_nbd", "rule"}
    assert found.decisions[0].startswith("no model: ") == (found.trained is None)
    np.testing.assert_array_equal(found.predictions[CHOSEN], found.predictions[found.name])
    assert_served(found)
    assert np.isfinite(found.predictions[CHOSEN]).all()
    assert render(card_page("x", [found], figures([found], HORIZON_DAYS, {"rows": 1})))


def test_one_label_only_grows_no_trees() -> None:
    daily = purchases(*((f"c{n}", float(at)) for n in range(5) for at in range(60)), until=80)
    found = hold_out(daily, day(60), 5)
    assert found.trained is None
    assert "every customer has the same label" in found.decisions[0]
    measured = figures([found], 5, {})["mean"][CHOSEN]["all"]
    assert measured["roc_auc"] is None
    assert measured["log_loss"] is not None


def test_without_amounts_and_with_refunds_it_works_all_the_same() -> None:
    events = [(f"c{n}", Kind.PURCHASE, at * (2.0 + n % 7)) for n in range(60) for at in range(30)]
    events += [(f"c{n}", Kind.REFUND, 3.0 + n) for n in range(20)]
    made = batch(events)
    bare = replace(made, columns=replace(made.columns, amount=np.full(len(events), np.nan)))
    found = hold_out(from_columns([bare], day(110)), day(90), 14)
    assert np.isfinite(found.predictions[CHOSEN]).all()
    assert "no gain in money" in render(card_page("x", [found], figures([found], 14, {})))


def test_a_cutoff_before_the_first_purchase_is_refused() -> None:
    with pytest.raises(Invalid, match="no customer has bought before 2020-09-13"):
        hold_out(shoppers(), day(-1), HORIZON_DAYS)


def test_a_cutoff_at_midnight_is_shown_as_a_date() -> None:
    assert instant(day(0)) == "2020-09-14"
    assert instant(day(0.5)) == "2020-09-14T12:00:00+00:00"


def assert_served(found: HeldOutCutoff) -> None:
    """What was evaluated is what the stored and loaded artefact predicts."""
    np.testing.assert_allclose(
        found.predictions[WOULD_SERVE], found.predictions[CHOSEN], rtol=0, atol=1e-9
    )


def test_what_is_evaluated_is_what_would_serve() -> None:
    assert held().trained is not None
    assert_served(held())
