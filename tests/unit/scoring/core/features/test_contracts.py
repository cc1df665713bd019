"""Contracts in the state: the newest event counts, in whatever order they come."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from services.scoring.core.features import contracts
from services.scoring.core.features.events import EventColumns, Kind
from services.scoring.core.features.fold import fold
from services.scoring.core.features.state import empty

ACTIVATED, ENDED = Kind.CONTRACT_ACTIVATED, Kind.CONTRACT_ENDED


def columns(events: list[tuple[Kind, float]]) -> EventColumns:
    """Return one customer's events of (kind, Unix seconds)."""
    n = len(events)
    return EventColumns(
        row=np.zeros(n, np.int64),
        kind=np.array([kind for kind, _ in events], np.uint8),
        time=np.array([at for _, at in events], np.float64),
        amount=np.full(n, np.nan),
        score=np.full(n, np.nan),
        key=np.zeros(n, np.uint64),
        category=np.zeros(n, np.uint64),
        cost=np.full(n, np.nan),
        channel=np.zeros(n, np.uint8),
    )


def state(*events: tuple[Kind, float]) -> np.ndarray:
    """Return one customer's state, with the events folded one by one."""
    found = empty(1)
    for one in events:
        found = fold(found, columns([one]))
    return found


def test_the_newest_event_decides_whether_a_contract_runs() -> None:
    nothing, runs = state((Kind.PURCHASE, 5)), state((ACTIVATED, 10))
    over, again = state((ACTIVATED, 10), (ENDED, 20)), state((ENDED, 20), (ACTIVATED, 30))
    alone = state((ENDED, 20))
    assert [bool(contracts.running(s)[0]) for s in (nothing, runs, over, again, alone)] == [
        False, True, False, True, False,
    ]  # fmt: skip
    assert [bool(contracts.ended(s)[0]) for s in (nothing, runs, over, again, alone)] == [
        False, False, True, False, True,
    ]  # fmt: skip
    assert not contracts.ended(state((ENDED, 20), (ACTIVATED, 20)))[0]


@given(st.permutations([(ACTIVATED, 10.0), (ENDED, 20.0), (ACTIVATED, 30.0), (ENDED, 40.0)]))
def test_the_order_of_arrival_does_not_matter(events: list[tuple[Kind, float]]) -> None:
    found = state(*events)
    assert contracts.ended(found)[0]
    bounds = [(0.0, 41.0), (40.0, 41.0), (0.0, 40.0), (41.0, 50.0)]
    within = [
        bool(contracts.ended_within(found, np.array([a]), np.array([b]))[0]) for a, b in bounds
    ]
    assert within == [True, True, False, False]
    assert contracts.ends(columns(list(events)), 1).tolist() == [True]
