"""The kernel's features equal an independent reference on generated and on real histories."""

import numpy as np
import pytest

from services.scoring.core.features.compute import FEATURES, features
from services.scoring.core.features.events import DAY_S, EventColumns
from services.scoring.core.features.fold import fold
from services.scoring.core.features.state import empty
from shared.kernel.arrays import Floats
from tests.unit.scoring.core.histories import REAL_SETS, generated, real
from tests.unit.scoring.core.reference import reference_features


def _assert_parity(events: EventColumns, now: Floats) -> None:
    """Check that every feature of every customer agrees to 1e-9, with NaN in the same places."""
    events = events.select(events.time <= now[events.row])
    x = features(fold(empty(len(now)), events), now)
    expected = reference_features(events, now)
    assert set(expected) >= {feature.name for feature in FEATURES}
    for at, feature in enumerate(FEATURES):
        np.testing.assert_allclose(
            x[:, at], expected[feature.name], rtol=1e-9, atol=1e-12, err_msg=feature.name
        )


@pytest.mark.parametrize("years", [0.5, 3, 8, 11])
def test_features_of_a_generated_history_equal_the_reference(years: float) -> None:
    """Events of every kind, wrapped rings, and a `now` per customer."""
    events = generated()
    n = int(events.row.max()) + 1
    spread = np.linspace(0, 200, n)
    _assert_parity(events, events.time.min() + (years * 365 + spread) * DAY_S)


@pytest.mark.public_sets
@pytest.mark.parametrize("name", REAL_SETS)
@pytest.mark.parametrize("share", [0.4, 1.0])
def test_features_of_a_real_history_equal_the_reference(name: str, share: float) -> None:
    """The history is cut at a share of its span, and at its end."""
    events = real(name)
    if events is None:
        pytest.skip(f"{name} is not here: set EBBWATCH_DATA to the folder of the data sets")
    first, last = events.time.min(), events.time.max()
    now = np.full(int(events.row.max()) + 1, first + share * (last - first))
    _assert_parity(events, now)
