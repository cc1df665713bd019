"""Features are defined, bounded, and change with time as silence does."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from services.scoring.core.features.compute import FEATURES, feature_index, features
from services.scoring.core.features.events import DAY_S, EventColumns
from services.scoring.core.features.fold import fold
from services.scoring.core.features.state import empty
from shared.kernel.arrays import Floats
from tests.unit.scoring.core.histories import EPOCH_S, columns, together
from tests.unit.scoring.core.strategies import CUSTOMERS, batches, nothing

moments = st.floats(-400, 9_000).map(lambda day: EPOCH_S + day * DAY_S)
"""Before the first event, in between, and long after the last."""
SIGNED = {"survey_change", "recommendation_change", "profit", "margin_share"}


def _at(states: NDArray[np.void], now: float) -> Floats:
    return features(states, np.full(len(states), now))


@given(batches, moments)
def test_finite_or_undefined_and_never_negative(events: EventColumns, now: float) -> None:
    """No infinity and no negative time, whatever the history, even if `now` lags behind it."""
    x = _at(fold(nothing(), events), now)
    assert x.shape == (CUSTOMERS, len(FEATURES))
    assert not np.isinf(x).any()
    for feature in FEATURES:
        if feature.name not in SIGNED:
            assert not (x[:, feature_index[feature.name]] < 0).any(), feature.name


@given(batches, moments, st.floats(0, 4_000))
def test_silence_only_grows(events: EventColumns, now: float, later_days: float) -> None:
    """With no new event, recencies never fall, memories never rise, windows only empty."""
    states = fold(nothing(), events)
    early, late = _at(states, now), _at(states, now + later_days * DAY_S)
    for feature in FEATURES:
        name = feature.name
        before, after = early[:, feature_index[name]], late[:, feature_index[name]]
        known = ~np.isnan(before) & ~np.isnan(after)
        if "recency_days" in name or name == "tenure_days" or "silence_over" in name:
            assert (after >= before)[known].all(), name
        if "_decayed_" in name or name == "gaps_outlasting" or name.startswith("purchase_days"):
            assert (after <= before)[known].all(), name
        if "_trend_" in name:
            assert (after <= before * (1 + 1e-9))[known].all(), name


@given(batches, moments)
def test_a_row_does_not_depend_on_its_batch(events: EventColumns, now: float) -> None:
    """Alone or in a batch: the same numbers to the bit, so an assessment can be replayed."""
    states = fold(nothing(), events)
    together_ = _at(states, now)
    for row in range(len(states)):
        np.testing.assert_array_equal(_at(states[[row]], now), together_[[row]])
        np.testing.assert_array_equal(_at(states[row : row + 1], now), together_[[row]])


@given(batches, batches, moments)
def test_arrival_does_not_show(a: EventColumns, b: EventColumns, now: float) -> None:
    """The model sees the same to 1e-9, in any order of arrival."""
    expected = _at(fold(nothing(), together(a, b)), now)
    states = fold(fold(nothing(), b), a)
    np.testing.assert_allclose(_at(states, now), expected, rtol=1e-9, atol=1e-12)


def test_no_customers_and_no_events_have_features_without_values() -> None:
    """No customers give an empty matrix; a customer without events has no ages and no ratios."""
    assert _at(empty(0), EPOCH_S).shape == (0, len(FEATURES))
    lone = _at(empty(1), EPOCH_S)[0]
    assert np.isnan(lone[feature_index["recency_days"]])
    assert np.nansum(lone) == 0


def test_silence_beyond_any_memory() -> None:
    """After a century of silence sums vanish, and ratios become undefined, not infinite."""
    events = columns(time=[EPOCH_S, EPOCH_S + 5 * DAY_S], amount=[10.0, 20.0])
    x = _at(fold(empty(1), events), EPOCH_S + 36_500 * DAY_S)[0]
    assert x[feature_index["purchases_decayed_365"]] < 1e-29
    assert np.isnan(x[feature_index["purchases_trend_30_365"]])
    assert np.isnan(x[feature_index["order_value_30"]])
    assert x[feature_index["order_value"]] == 15.0
