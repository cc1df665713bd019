"""The leak check accepts the honest kernel and detects a planted leak."""

import numpy as np

from services.scoring.core.features.events import DAY_S
from services.scoring.core.features.registry import feature_index
from services.scoring.training.data.event_table import EventTable
from services.scoring.training.data.leaks import leaking, snapshot
from shared.kernel.arrays import Floats
from tests.unit.scoring.training.histories import day, shoppers

CUTOFF = day(90)


def test_the_kernel_knows_no_future() -> None:
    assert leaking(shoppers(), CUTOFF) == []


def test_folding_one_day_too_far_is_found() -> None:
    """With an off-by-one cutoff the features that move are named, and the others are not."""

    def late(table: EventTable, cutoff: float) -> Floats:
        return snapshot(table, cutoff + DAY_S)

    found = leaking(shoppers(), CUTOFF, late)
    assert {"purchases", "recency_days", "purchases_decayed_7"} <= set(found)
    assert "survey_score" not in found


def test_a_column_filled_in_later_is_found() -> None:
    """One column holds the days until the next purchase; it is missing where there is none."""

    def planted(table: EventTable, cutoff: float) -> Floats:
        x = snapshot(table, cutoff)
        later = table.between(cutoff, np.inf)
        following = np.full(len(table.customers), np.nan)
        following[later.row[::-1]] = later.time[::-1] - cutoff
        x[:, feature_index["suggestions"]] = following
        return x

    assert leaking(shoppers(), CUTOFF, planted) == ["suggestions"]
