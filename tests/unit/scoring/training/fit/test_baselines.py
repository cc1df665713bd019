"""The baselines: fitted to what is known, and plausible where little is known."""

from dataclasses import replace

import numpy as np
import pytest

from services.scoring.core.features.registry import feature_index
from services.scoring.core.monitoring.metrics import log_loss, roc_auc
from services.scoring.core.risk.rhythm import history
from services.scoring.training.data.panel import Panel, build_panel
from services.scoring.training.fit.baselines import (
    NAMES,
    BuyTillYouDie,
    RfmLogistic,
    fit_baselines,
)
from tests.unit.scoring.training.histories import HORIZON_DAYS, day, panel, purchases


def _later() -> tuple[Panel, Panel]:
    whole = panel()
    last = whole.between(len(whole.cutoffs) - 1, len(whole.cutoffs))
    return whole.matured(last.cutoffs[0]), last


@pytest.mark.parametrize("name", NAMES)
def test_each_ranks_better_than_chance_and_knows_the_level(name: str) -> None:
    known, last = _later()
    p = fit_baselines(known, last.x)[name].predict(last.x)
    assert roc_auc(last.silent, p) > 0.6
    base = np.full(len(last), known.silent.mean())
    assert log_loss(last.silent, p) < log_loss(last.silent, base)


def test_a_logistic_regression_fits_the_level_of_its_rows() -> None:
    known, _ = _later()
    p = RfmLogistic.fit(known).predict(known.x)
    assert p.mean() == pytest.approx(known.silent.mean(), abs=1e-6)


@pytest.mark.parametrize("label", [True, False])
def test_one_label_gives_the_base_rate_and_no_certainty(label: bool) -> None:
    known, last = _later()
    same = replace(known, silent=np.full(len(known), label))
    for name in ("recency", "rfm_logistic"):
        p = fit_baselines(same, last.x)[name].predict(last.x)
        assert np.ptp(p) == pytest.approx(0.0, abs=1e-12)
        assert 0.0 < p[0] < 1.0
        assert (p[0] > 0.5) == label


def test_without_amounts_the_money_weighs_nothing() -> None:
    known, last = _later()
    known, last = (replace(rows, x=rows.x.copy()) for rows in (known, last))
    for rows in (known, last):
        rows.x[:, feature_index["spent"]] = 0.0
    fitted = RfmLogistic.fit(known)
    assert fitted.weights[3] == 0.0
    assert np.isfinite(fitted.predict(last.x)).all()


def test_repeats_are_counted_in_days_of_purchase() -> None:
    table = purchases(("a", 0.0), ("a", 0.4), ("a", 10.0), ("a", 30.0), ("b", 35.0), until=60)
    x = build_panel(table, [day(40)], HORIZON_DAYS, day(60)).x
    again, span, age = history(x)
    np.testing.assert_allclose(again, [2, 0])
    np.testing.assert_allclose(span, [30, 0])
    np.testing.assert_allclose(age, [40, 5])
    assert BuyTillYouDie.fit(x, HORIZON_DAYS, "bg").predict(x).shape == (2,)
