"""Several horizons: silence over a longer one is never likelier, and the main one is unchanged."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from services.scoring.core.risk.horizons import (
    AS_RHYTHM,
    coherent,
    horizons_to_publish,
    pack,
    unpack,
)
from services.scoring.core.risk.odds import logit


@given(st.sampled_from([14, 30, 60, 90]), arrays(np.float64, (4, 5), elements=st.floats(0, 1)))
def test_the_probability_never_rises_with_the_horizon(main: int, p: np.ndarray) -> None:
    given_ = dict(zip([14, 30, 60, 90], p, strict=True))
    found = coherent(given_, main)
    assert list(found) == [14, 30, 60, 90]
    assert np.all(np.diff(np.array(list(found.values())), axis=0) <= 0)
    np.testing.assert_array_equal(found[main], given_[main])


def test_what_is_coherent_already_stays() -> None:
    p = {14: np.array([0.9]), 30: np.array([0.5]), 60: np.array([0.2])}
    assert coherent(p, 30) == p


def test_a_bridge_that_was_not_fitted_moves_the_odds_as_the_rhythm_does() -> None:
    """Where the score is the rhythm's own, so is that of the other horizon."""
    q_main, q = np.array([0.2, 0.5, 0.9]), np.array([0.4, 0.6, 0.95])
    np.testing.assert_allclose(AS_RHYTHM.apply(q_main, q_main, q), q)
    raised = AS_RHYTHM.apply(np.array([0.5, 0.8, 0.99]), q_main, q)
    np.testing.assert_allclose(
        logit(raised) - logit(q), logit(np.array([0.5, 0.8, 0.99])) - logit(q_main)
    )


def test_what_is_packed_is_read_again_to_the_last_bit() -> None:
    p = np.random.default_rng(1).random((5, 3))
    assert [unpack(row) for row in pack((14, 28, 90), p)] == [
        dict(zip((14, 28, 90), row, strict=True)) for row in p.tolist()
    ]
    assert unpack(None) == unpack(b"") == {}


def test_the_main_horizon_is_always_among_those_published() -> None:
    assert horizons_to_publish((90, 14), 28) == (14, 28, 90)
    assert horizons_to_publish((), 28) == horizons_to_publish((28,), 28) == (28,)
