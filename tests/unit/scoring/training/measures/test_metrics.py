"""Measures against numbers computed by hand."""

import math

import numpy as np
import pytest

from services.scoring.core.monitoring.metrics import calibration_error, lift, log_loss, roc_auc
from services.scoring.training.measures.metrics import brier, pr_auc, scores

SILENT = np.array([False, False, True, True])
P = np.array([0.1, 0.4, 0.35, 0.8])


def test_roc_auc_counts_pairs_in_order() -> None:
    """Of the four pairs, only (0.35, 0.4) is the wrong way round."""
    assert roc_auc(SILENT, P) == pytest.approx(3 / 4)


def test_roc_auc_counts_a_tie_as_half() -> None:
    assert roc_auc(np.array([True, False, True]), np.array([0.5, 0.5, 0.9])) == pytest.approx(0.75)
    assert roc_auc(SILENT, np.full(4, 0.3)) == pytest.approx(0.5)


def test_pr_auc_is_average_precision() -> None:
    """Recall rises at ranks 1 and 3: (1/1 + 2/3) / 2."""
    assert pr_auc(SILENT, P) == pytest.approx((1 + 2 / 3) / 2)


def test_pr_auc_of_one_tie_is_the_base_rate() -> None:
    assert pr_auc(np.array([True, False, False, False]), np.full(4, 0.2)) == pytest.approx(0.25)


def test_brier_and_log_loss() -> None:
    assert brier(SILENT, P) == pytest.approx((0.01 + 0.16 + 0.4225 + 0.04) / 4)
    expected = -(math.log(0.9) + math.log(0.6) + math.log(0.35) + math.log(0.8)) / 4
    assert log_loss(SILENT, P) == pytest.approx(expected)


def test_log_loss_of_a_certain_mistake_is_finite() -> None:
    assert log_loss(np.array([True]), np.array([0.0])) == pytest.approx(-math.log(1e-7))


def test_ece_weighs_bins_of_equal_mass() -> None:
    """Bins {0.1, 0.35} and {0.4, 0.8}: |0.45 - 1| / 4 + |1.2 - 1| / 4."""
    assert calibration_error(SILENT, P, bins=2) == pytest.approx((0.55 + 0.2) / 4)


def test_ece_of_a_constant_is_its_distance_from_the_base_rate() -> None:
    assert calibration_error(SILENT, np.full(4, 0.7)) == pytest.approx(0.2)


def test_ece_of_honest_probabilities_is_small_and_of_shifted_ones_is_the_shift() -> None:
    random = np.random.default_rng(1)
    p = random.uniform(0.1, 0.8, 50_000)
    silent = random.random(50_000) < p
    assert calibration_error(silent, p) < 0.01
    assert calibration_error(silent, p + 0.1) == pytest.approx(0.1, abs=0.01)


def test_ece_keeps_equal_probabilities_in_one_bin() -> None:
    """One bin for all four rows, in whichever order: |0.5 - 0.5|."""
    silent = np.array([True, True, False, False])
    for order in (silent, silent[::-1]):
        assert calibration_error(order, np.full(4, 0.5), bins=2) == pytest.approx(0.0)


def test_lift_of_the_top_half() -> None:
    """One of the top two is silent: precision 1/2 against a base rate of 1/2.

    The top one is silent: twice the base rate.
    """
    assert lift(SILENT, P, share=0.5) == pytest.approx(1.0)
    assert lift(SILENT, P, share=0.25) == pytest.approx(2.0)


def test_lift_shares_out_a_tie_at_the_edge() -> None:
    silent = np.array([True, True, False, False])
    assert lift(silent, np.full(4, 0.5), share=0.25) == pytest.approx(1.0)


def test_measures_do_not_depend_on_the_order_of_the_rows() -> None:
    random = np.random.default_rng(2)
    p = np.round(random.random(500), 2)
    silent = random.random(500) < p
    order = random.permutation(500)
    a, b = scores(silent, p), scores(silent[order], p[order])
    assert a == pytest.approx(b)


def test_what_is_not_defined_is_nan_and_none_in_json() -> None:
    one_class = np.array([False, False]), np.array([0.1, 0.2])
    assert math.isnan(roc_auc(*one_class))
    assert scores(*one_class)["roc_auc"] is None
    nobody = scores(np.array([], dtype=bool), np.array([]))
    assert nobody["rows"] == 0
    assert nobody["log_loss"] is None
