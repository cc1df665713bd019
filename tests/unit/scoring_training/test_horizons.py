"""Several horizons: never more silence over a longer one, and the main one untouched."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from services.scoring.training.horizons import coherent


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
