"""What is published: changes, and a heartbeat."""

import numpy as np
import pytest

from services.scoring.core.events import DAY_S
from services.scoring.core.material import Assessed, is_material


def _assessed(days: float, p: float, band: int, reason: int) -> Assessed:
    return Assessed(
        at=np.array([days * DAY_S]),
        probability=np.array([p]),
        band=np.array([band], np.int8),
        reason=np.array([reason], np.int8),
    )


@pytest.mark.parametrize(
    ("new", "published", "material"),
    [
        ((0.5, 0.30, 1, -1), (0, 0.30, 1, -1), False),
        ((0.5, 0.39, 1, -1), (0, 0.30, 1, -1), False),
        ((0.5, 0.40, 1, -1), (0, 0.30, 1, -1), True),
        ((0.5, 0.20, 1, -1), (0, 0.30, 1, -1), True),
        ((0.5, 0.51, 2, -1), (0, 0.49, 1, -1), True),
        ((0.5, 0.44, 1, -1), (0, 0.46, 2, -1), True),
        ((0.5, 0.60, 2, 4), (0, 0.60, 2, 0), True),
        ((0.5, 0.60, 2, 4), (0, 0.60, 2, 4), False),
        ((0.5, 0.60, 2, -1), (0, 0.60, 2, 4), False),
        ((1.0, 0.60, 2, 4), (0, 0.60, 2, 4), True),
        ((27.9, 0.30, 1, -1), (0, 0.30, 1, -1), False),
        ((28.0, 0.30, 1, -1), (0, 0.30, 1, -1), True),
        ((0.0, 0.01, 0, -1), (0, 0.01, -1, -1), True),
    ],
)
def test_examples(
    new: tuple[float, float, int, int], published: tuple[float, float, int, int], material: bool
) -> None:
    """(day, probability, band, leading reason) against what was last published."""
    watched = np.array([new[2] >= 2])
    assert is_material(_assessed(*new), _assessed(*published), watched).tolist() == [material]


def test_never_published() -> None:
    """Whatever stands in the columns of a customer never published, the first one is."""
    never = _assessed(np.nan, np.nan, -1, -1)
    assert is_material(_assessed(1, 0.1, 0, -1), never, np.array([False])).tolist() == [True]
