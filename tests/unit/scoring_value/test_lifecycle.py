"""States in time: from elapsed time alone, and one table of transitions (R2)."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from services.scoring.core.events import DAY_S
from services.scoring.core.value import lifecycle
from services.scoring.core.value.lifecycle import (
    AT_RISK,
    CHURNED,
    GROWING,
    LIFECYCLES,
    MATURE,
    NEW,
    NONE,
    PROSPECT,
    SIGNALS,
    TABLE,
    WON_BACK,
)  # fmt: skip
from services.scoring.core.value.policy import ValuePolicy
from tests.unit.scoring_core.histories import purchases
from tests.unit.scoring_core.people import seen_at

POLICY = ValuePolicy()


@given(
    days=st.lists(st.integers(0, 700), min_size=1, max_size=30, unique=True),
    looks=st.lists(st.integers(701, 3_000), min_size=2, max_size=6),
)
def test_R2_silence_only_ever_leads_from_active_over_dormant_to_churned(
    days: list[int], looks: list[int]
) -> None:
    history = purchases(*sorted(days))
    states = [
        int(lifecycle.behaviour(seen_at(at + 0.5, history), POLICY)[0]) for at in sorted(looks)
    ]
    assert states == sorted(states)
    assert lifecycle.behaviour(seen_at(3_700.5, history), POLICY)[0] == 2


def test_R2_the_own_rhythm_decides() -> None:
    """Twenty days of silence: nothing for a monthly customer, dormant for a daily one."""
    daily, monthly = purchases(*range(100, 130)), purchases(*range(10, 131, 30))
    assert lifecycle.behaviour(seen_at(149.5, daily), POLICY)[0] == 1
    assert lifecycle.behaviour(seen_at(149.5, monthly), POLICY)[0] == 0


def test_the_table_is_complete_and_closed() -> None:
    assert TABLE.shape == (len(LIFECYCLES), len(SIGNALS))
    assert set(TABLE.ravel().tolist()) == set(range(len(LIFECYCLES)))
    # Only a purchase leads out of churned.
    assert TABLE[CHURNED].tolist() == [PROSPECT, WON_BACK, WON_BACK, WON_BACK, CHURNED, CHURNED]
    # Every state but won_back follows from a signal alone for somebody not seen before.
    assert TABLE[PROSPECT].tolist() == [PROSPECT, NEW, GROWING, MATURE, AT_RISK, CHURNED]


def test_won_back_ends_after_its_time() -> None:
    state, since = np.array([CHURNED], np.int8), np.array([0.0])
    seen = np.array([SIGNALS.index("settled")], np.int8)
    for at, wanted in ((1, WON_BACK), (80, WON_BACK), (93, MATURE), (94, MATURE)):
        state, since = lifecycle.advance(state, since, seen, np.array([at * DAY_S]), POLICY)
        assert state[0] == wanted, at
    assert since[0] == 93 * DAY_S


def test_a_first_look_names_the_state_at_once() -> None:
    none, unknown = np.array([NONE], np.int8), np.array([np.nan])
    after, since = lifecycle.advance(none, unknown, np.array([2], np.int8), np.array([5.0]), POLICY)
    assert (after[0], since[0]) == (GROWING, 5.0)
