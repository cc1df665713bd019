"""What is published: changes, and a heartbeat."""

import numpy as np
import pytest

from services.scoring.core.features.events import DAY_S
from services.scoring.core.risk.publication import (
    GONE,
    HEARTBEAT_DAYS,
    AssessmentColumns,
    is_material,
    published_bits,
)
from services.scoring.core.signs.detectors import CODES, codes_of

SILENT, COMPLAINT = 0b10000, 0b00001
"""Bits of two signs."""


def _assessed(days: float, p: float, band: int, signs: int) -> AssessmentColumns:
    return AssessmentColumns(
        at=np.array([days * DAY_S]),
        probability=np.array([p]),
        band=np.array([band], np.int8),
        signs=np.array([signs], np.int16),
    )


@pytest.mark.parametrize(
    ("new", "published", "heartbeat", "material"),
    [
        ((0.5, 0.30, 1, 0), (0, 0.30, 1, 0), 28.0, False),
        ((0.5, 0.39, 1, 0), (0, 0.30, 1, 0), 28.0, False),
        ((0.5, 0.40, 1, 0), (0, 0.30, 1, 0), 28.0, True),
        ((0.5, 0.20, 1, 0), (0, 0.30, 1, 0), 28.0, True),
        ((0.5, 0.51, 2, 0), (0, 0.49, 1, 0), 28.0, True),
        ((0.5, 0.44, 1, 0), (0, 0.46, 2, 0), 28.0, True),
        # A sign that begins, that ends, that joins another, that takes another's place.
        ((0.5, 0.60, 0, COMPLAINT), (0, 0.60, 0, 0), 28.0, True),
        ((0.5, 0.60, 2, 0), (0, 0.60, 2, SILENT), 28.0, True),
        ((0.5, 0.60, 2, SILENT | COMPLAINT), (0, 0.60, 2, SILENT), 28.0, True),
        ((0.5, 0.60, 2, SILENT), (0, 0.60, 2, COMPLAINT), 28.0, True),
        ((0.5, 0.60, 2, SILENT), (0, 0.60, 2, SILENT), 28.0, False),
        # The silence reaches the lapse length; a purchase that arrives late takes that back.
        ((0.5, 0.60, 2, SILENT | GONE), (0, 0.60, 2, SILENT), 28.0, True),
        ((0.5, 0.60, 2, SILENT), (0, 0.60, 2, SILENT | GONE), 28.0, True),
        ((0.5, 0.60, 2, SILENT | GONE), (0, 0.60, 2, SILENT | GONE), 28.0, False),
        # The heartbeat, of each customer's own length.
        ((1.39, 0.60, 2, SILENT), (0, 0.60, 2, SILENT), 1.4, False),
        ((1.40, 0.60, 2, SILENT), (0, 0.60, 2, SILENT), 1.4, True),
        ((27.9, 0.30, 1, 0), (0, 0.30, 1, 0), 28.0, False),
        ((28.0, 0.30, 1, 0), (0, 0.30, 1, 0), 28.0, True),
        ((0.0, 0.01, 0, 0), (0, 0.01, -1, 0), 28.0, True),
    ],
)
def test_an_assessment_is_published_where_it_changed(
    new: tuple[float, float, int, int],
    published: tuple[float, float, int, int],
    heartbeat: float,
    material: bool,
) -> None:
    """Compare (day, probability, band, signs) with what was last published."""
    due = np.array([heartbeat])
    assert is_material(_assessed(*new), _assessed(*published), due).tolist() == [material]


def test_the_first_assessment_is_published() -> None:
    """The first assessment is published, whatever the columns of the customer contain."""
    never = _assessed(np.nan, np.nan, -1, 0)
    due = np.array([HEARTBEAT_DAYS])
    assert is_material(_assessed(1, 0.1, 0, 0), never, due).tolist() == [True]


def test_gone_is_no_sign() -> None:
    signs = np.array([0, SILENT, SILENT], np.int16)
    bits = published_bits(signs, np.array([True, True, False]))
    assert bits.tolist() == [GONE, SILENT | GONE, SILENT]
    assert [codes_of(each) for each in bits.tolist()] == [codes_of(each) for each in signs.tolist()]
    assert all(1 << place != GONE for place in range(len(CODES)))
