"""RFM against a fixture computed by hand (R23)."""

import numpy as np

from services.scoring.core.value import rfm

# Ten customers; quintile edges by linear interpolation between the sorted values, by hand:
# sorted recency 1 3 5 8 13 21 34 55 89 144: position 0.2 * 9 = 1.8 -> 3 + 0.8 * (5 - 3) = 4.6,
# 3.6 -> 8 + 0.6 * 5 = 11, 5.4 -> 21 + 0.4 * 13 = 26.2, 7.2 -> 55 + 0.2 * 34 = 61.8.
RECENCY = np.array([1.0, 3, 5, 8, 13, 21, 34, 55, 89, 144])
FREQUENCY = np.array([9.0, 12, 5, 4, 4, 3, 2, 1, 1, 1])
# Sorted 1 1 1 2 3 4 4 5 9 12: 1.8 -> 1, 3.6 -> 2.6, 5.4 -> 4, 7.2 -> 5 + 0.2 * 4 = 5.8.
MONETARY = np.array([500.0, 90, 80, 300, 60, 50, 40, 30, 20, 10])
# Sorted 10 20 ... 80 90 300 500 without 70: 10 20 30 40 50 60 80 90 300 500:
# 1.8 -> 28, 3.6 -> 46, 5.4 -> 68, 7.2 -> 90 + 0.2 * 210 = 132.


def test_R23_scores_match_the_hand_computed_fixture() -> None:
    r = rfm.descending(RECENCY, (4.6, 11.0, 26.2, 61.8))
    f = rfm.ascending(FREQUENCY, (1.0, 2.6, 4.0, 5.8))
    m = rfm.ascending(MONETARY, (28.0, 46.0, 68.0, 132.0))
    assert r.tolist() == [5, 5, 4, 4, 3, 3, 2, 2, 1, 1]
    assert f.tolist() == [5, 5, 4, 3, 3, 3, 2, 1, 1, 1]
    assert m.tolist() == [5, 4, 4, 5, 3, 3, 2, 2, 1, 1]
    assert [rfm.CELLS[at] for at in rfm.cell(r, f)] == [
        "champions", "champions", "loyal", "potential_loyalist", "need_attention",
        "need_attention", "hibernating", "hibernating", "hibernating", "hibernating",
    ]  # fmt: skip


def test_every_pair_of_scores_has_a_name_and_every_name_is_used() -> None:
    r, f = (grid.ravel().astype(np.int8) for grid in np.meshgrid(range(1, 6), range(1, 6)))
    assert set(rfm.cell(r, f).tolist()) == set(range(len(rfm.CELLS)))


def test_who_has_not_bought_has_neither_score_nor_name() -> None:
    scores = rfm.ascending(np.array([np.nan, 2.0]), (1.0, 2.0, 3.0, 4.0))
    assert scores.tolist() == [rfm.UNSCORED, 2]
    assert rfm.cell(scores, scores).tolist()[0] == rfm.NO_CELL
