"""The ring of purchase days compared with a plain set of days."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from services.scoring.core.features.bitmap import day_of, unpack
from services.scoring.core.features.fold import fold
from services.scoring.core.features.state import RING_DAYS, empty
from tests.unit.scoring.core.histories import purchases, together
from tests.unit.scoring.core.strategies import days

batches_of_days = st.lists(st.lists(days, max_size=8), min_size=1, max_size=6)


def _remembered(states: np.ndarray) -> list[tuple[int, int]]:
    rows, found = unpack(states["days"], day_of(states["last"][:, 0]))
    return list(zip(rows.tolist(), found.tolist(), strict=True))


def _naive(bought: set[int]) -> list[int]:
    return sorted(day for day in bought if day > max(bought) - RING_DAYS)


@given(batches_of_days)
def test_ring_is_the_set_of_the_last_days(batches: list[list[int]]) -> None:
    """Any batches in any order, across any number of wraps of the ring, oldest day first."""
    states, bought = empty(1), set[int]()
    for batch in batches:
        states = fold(states, purchases(*batch))
        bought |= set(batch)
        assert [day for _, day in _remembered(states)] == _naive(bought)


@given(st.lists(st.lists(days, max_size=20), min_size=1, max_size=5))
def test_rows_come_in_order(customers: list[list[int]]) -> None:
    """Many customers at once: by row, then by day; customers without days are absent."""
    events = together(*(purchases(*own, row=row) for row, own in enumerate(customers)))
    states = fold(empty(len(customers)), events)
    expected = [(row, day) for row, own in enumerate(customers) for day in _naive(set(own))]
    assert _remembered(states) == expected


@given(st.lists(st.integers(0, 12_000), min_size=1, max_size=40))
def test_one_day_at_a_time_over_many_turns(bought: list[int]) -> None:
    """Thirty years, five wraps of the ring, every step alone: forgotten days never come back."""
    states, seen = empty(1), set[int]()
    for day in bought:
        states = fold(states, purchases(day))
        seen.add(day)
    assert [day for _, day in _remembered(states)] == _naive(seen)
