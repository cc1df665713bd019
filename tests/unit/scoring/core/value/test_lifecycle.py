"""Lifecycle states over time: elapsed time alone, and one table of transitions (R2)."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from services.scoring.core.features.compute import features
from services.scoring.core.features.events import DAY_S, Kind
from services.scoring.core.features.fold import fold
from services.scoring.core.features.state import empty
from services.scoring.core.risk.lapse import LapseClock, silences_of
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
from shared.kernel.arrays import Codes, Floats
from tests.unit.scoring.core.feature_rows import seen_at
from tests.unit.scoring.core.histories import columns, purchases, real

POLICY = ValuePolicy()


def behaviour(x: Floats) -> Codes:
    """Return the behaviour by the default clock."""
    return lifecycle.behaviour(silences_of(x, LapseClock()))


@given(
    days=st.lists(st.integers(0, 700), min_size=1, max_size=30, unique=True),
    looks=st.lists(st.integers(701, 3_000), min_size=2, max_size=6),
)
def test_R2_silence_only_ever_leads_from_active_over_dormant_to_churned(
    days: list[int], looks: list[int]
) -> None:
    history = purchases(*sorted(days))
    states = [int(behaviour(seen_at(at + 0.5, history))[0]) for at in sorted(looks)]
    assert states == sorted(states)
    assert behaviour(seen_at(3_700.5, history))[0] == 2


def test_R2_the_own_rhythm_decides() -> None:
    """Twenty days of silence: no change for a monthly customer, dormant for a daily one."""
    daily, monthly = purchases(*range(100, 131)), purchases(*range(10, 131, 30))
    assert behaviour(seen_at(150.5, daily))[0] == 1
    assert behaviour(seen_at(150.5, monthly))[0] == 0


@pytest.mark.parametrize(
    ("gap", "silence", "wanted"),
    [
        # Every ten days: the lapse length is 40, and six tenths of it are 24.
        (10, 23.99, 0), (10, 24.0, 1), (10, 39.99, 1), (10, 40.0, 2),
        # Daily: at least 28, and 16.8. Every ninety days: at most 180, and 108.
        (1, 16.79, 0), (1, 16.81, 1), (1, 27.99, 1), (1, 28.0, 2),
        (90, 107.99, 0), (90, 108.01, 1), (90, 179.99, 1), (90, 180.0, 2),
    ],
)  # fmt: skip
def test_R2_states_begin_at_shares_of_the_lapse_length(
    gap: int, silence: float, wanted: int
) -> None:
    history = purchases(*range(100, 100 + 6 * gap, gap))
    assert behaviour(seen_at(100 + 5 * gap + 0.5 + silence, history)).tolist() == [wanted]


def test_a_prospect_has_no_behaviour() -> None:
    events = columns(time=[DAY_S, 2 * DAY_S], row=[0, 1], kind=[3, 1])
    assert behaviour(seen_at(3.0, events)).tolist() == [NONE, 0]


def test_the_table_is_complete_and_closed() -> None:
    assert TABLE.shape == (len(LIFECYCLES), len(SIGNALS))
    assert set(TABLE.ravel().tolist()) == set(range(len(LIFECYCLES)))
    # Only a purchase ends churned.
    assert TABLE[CHURNED].tolist() == [PROSPECT, WON_BACK, WON_BACK, WON_BACK, CHURNED, CHURNED]
    # Every state but won_back follows from a signal alone for a customer without a state.
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


TODAY = 1_000


def rises(first: int, recent: int, earlier: int, state: int = MATURE, ages: int = 95) -> bool:
    """Return whether the customer is growing at noon of `TODAY`.

    There are `recent` purchase days up to today, and `earlier` ones up to `ages` days ago.
    """
    days = {first, *(TODAY - n for n in range(recent)), *(TODAY - ages - n for n in range(earlier))}
    x = seen_at(TODAY + 0.5, purchases(*sorted(days)))
    return bool(lifecycle.rising(x, np.array([state], np.int8), POLICY)[0])


@pytest.mark.parametrize(
    ("first", "recent", "earlier", "wanted"),
    [
        # One quarter to compare with, so that a of a + b days is about a toss of coins (92 to 91):
        # P(>= 9 of 10) = 11 / 1024 = 1 %, P(>= 8 of 10) = 56 / 1024 = 5.5 %, P(>= 7) = 17 %.
        (700, 9, 1, True),
        (700, 8, 2, False),
        (700, 7, 3, False),
        # Three quarters, so that it is about a throw of one in four (92 of 365): of 12 at least 6
        # come in 5.4 % of all cases, of 13 at least 7 in 2.4 % (tables of the binomial).
        (500, 6, 6, False),
        (500, 7, 6, True),
        # Twice as dense, of many: P(>= 60 of 90) = 0.1 %. As dense: never.
        (700, 60, 30, True),
        (700, 45, 45, False),
        # Known for 273 days: the time before the last quarter was the beginning.
        (727, 30, 0, False),
        (726, 30, 0, True),
    ],
)
def test_growing_is_against_the_own_past_and_no_accident(
    first: int, recent: int, earlier: int, wanted: bool
) -> None:
    assert rises(first, recent, earlier) is wanted


def test_who_grows_goes_on_growing_until_the_days_are_no_longer_denser() -> None:
    assert rises(700, 7, 3, GROWING)
    assert not rises(700, 5, 5, GROWING)


@given(gap=st.integers(1, 120), start=st.integers(0, 400), look=st.integers(1, 2_000))
def test_a_steady_customer_never_grows(gap: int, start: int, look: int) -> None:
    at = start + look
    x = seen_at(at + 0.5, purchases(*range(start, at + 1, gap)))
    assert not lifecycle.rising(x, np.array([NEW], np.int8), POLICY)[0]


def test_a_customer_is_new_for_a_quarter_however_often_they_buy() -> None:
    seen = []
    for at in (30, 91, 92):
        x = seen_at(at + 0.5, purchases(*range(0, at, 3)))
        behaves = behaviour(x)
        state = np.array([NEW], np.int8)
        seen.append(SIGNALS[lifecycle.signal(x, behaves, state, POLICY)[0]])
    assert seen == ["fresh", "fresh", "settled"]


@pytest.mark.public_sets
@pytest.mark.parametrize("name", ["completejourney", "cdnow"])
def test_growing_on_real_histories_equals_an_exact_test(name: str) -> None:
    """The test counts days one by one and uses SciPy's own test of a binomial share."""
    events = real(name)
    if events is None:
        pytest.skip(f"{name} is not here: set EBBWATCH_DATA to the folder of the data sets")
    events = events.select(events.row < 600)
    end = float(events.time.max())
    x = features(fold(empty(600), events), np.full(600, end))
    found = lifecycle.rising(x, np.full(600, MATURE, np.int8), POLICY)
    today = int(end // DAY_S)
    bought = events.select(events.kind == Kind.PURCHASE)
    for row in range(600):
        mine = bought.time[bought.row == row]
        ages = today - np.unique(mine // DAY_S)
        known = (end - mine.min()) / DAY_S - POLICY.new_days
        span = 273 if known >= 365 else 91
        a, b = int((ages <= 91).sum()), int(((ages > 91) & (ages <= 91 + span)).sum())
        wanted = known >= 183 and a > 0 and a / 92 >= 1.2 * b / span
        if wanted:
            wanted = binomtest(a, a + b, 92 / (92 + span), alternative="greater").pvalue <= 0.05
        assert bool(found[row]) is bool(wanted), row
    assert 0 < found.sum() < 90, "a test that can tell; growth is no state of nearly everybody"
