"""Bands follow the probability, without flicker."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.scoring.core.risk.bands import HYSTERESIS, band_index
from shared.contracts.risk import BANDS

probabilities = st.floats(0, 1)


def _band(p: float, previous: int = -1) -> int:
    return int(band_index(np.array([p]), np.array([previous], np.int8))[0])


@pytest.mark.parametrize(
    ("p", "previous", "band"),
    [
        (0.0, -1, "low"),
        (0.2499, -1, "low"),
        (0.25, -1, "watch"),
        (0.5, -1, "high"),
        (0.75, -1, "critical"),
        (1.0, -1, "critical"),
        (0.46, 2, "high"),
        (0.46, 1, "watch"),
        (0.45, 2, "high"),
        (0.4499, 2, "watch"),
        (0.1, 3, "low"),
        (0.9, 0, "critical"),
        (0.71, 3, "critical"),
        (0.47, 3, "high"),
    ],
)
def test_bands_rise_at_the_threshold_and_fall_clearly_below_it(
    p: float, previous: int, band: str
) -> None:
    """Up at the threshold, down only clearly below it, also across several bands at once."""
    assert BANDS[_band(p, previous)] == band


@given(probabilities, st.integers(0, 3))
def test_stable_and_near(p: float, previous: int) -> None:
    """The same number twice gives the same band; the former band shifts it by one edge at most."""
    band = _band(p, previous)
    assert _band(p, band) == band
    assert _band(p) <= band <= _band(min(1.0, p + HYSTERESIS + 1e-12))


@given(st.lists(probabilities, min_size=2, max_size=20))
def test_small_moves_change_the_band_at_most_once(path: list[float]) -> None:
    """Moves smaller than the hysteresis change the band at most once."""
    start = path[0]
    bands, band = [], -1
    for p in path:
        band = _band(start + (p - 0.5) * HYSTERESIS * 0.99, band)
        bands.append(band)
    changes = sum(a != b for a, b in pairwise(bands))
    assert changes <= 1


def test_settings_apply_at_once() -> None:
    """R15: other thresholds are arguments; the next assessment uses them."""
    p, before = np.array([0.4, 0.4]), np.array([0, 2], np.int8)
    assert band_index(p, before, (0.1, 0.2, 0.3), 0.01).tolist() == [3, 3]


def test_undefined_is_refused() -> None:
    """A NaN must not become a band."""
    with pytest.raises(ValueError, match="customers with a purchase"):
        band_index(np.array([np.nan]), np.array([-1], np.int8))
