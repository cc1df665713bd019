"""Movement, effect and the page, on a history small enough to count by hand (R19, R24)."""

import json
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from services.scoring.core.events import DAY_S
from services.scoring.core.segments.movement import (
    NOT_KNOWN,
    Doing,
    doing,
    matrix,
    members_at,
    standing_at,
)
from services.scoring.outbound.segments_page import Told, as_csv, as_json, report, segments_page
from shared.report.page import render
from tests.unit.scoring_core.histories import columns


def at(day: float) -> datetime:
    """So many days after 1970."""
    return datetime.fromtimestamp(day * DAY_S, UTC)


MOVES = (
    ("ann", at(1), "regular"), ("ann", at(30), "vip"), ("bob", at(2), "vip"),
    ("cid", at(3), "regular"), ("cid", at(20), None), ("dan", at(40), "potential"),
)  # fmt: skip
SEGMENTS = (("loud", "ann", at(5), True), ("loud", "bob", at(5), True),
            ("loud", "bob", at(9), False))  # fmt: skip
EVENTS = columns(
    row=np.array([0, 0, 0, 0, 1, 1, 0, 0, 1, 0, 2]),
    time=np.array([10.0, 40.0, 40.2, 50.0, 11.0, 12.0, 45.0, 46.0, 47.0, 48.0, 49.0]) * DAY_S,
    kind=np.array([1, 1, 1, 1, 1, 6, 9, 10, 9, 2, 6]),
    amount=np.array([5.0, 10, 10, 10, 5, np.nan, np.nan, np.nan, np.nan, 6.0, np.nan]),
    score=np.array([np.nan] * 5 + [4.0] + [np.nan] * 4 + [9.0]),
)
ORDER = np.argsort(EVENTS.time, kind="stable")


def test_R24_movement_between_two_dates_by_hand() -> None:
    before, after = standing_at(MOVES, at(10)), standing_at(MOVES, at(50))
    assert before == {"ann": "regular", "bob": "vip", "cid": "regular"}
    assert after == {"ann": "vip", "bob": "vip", "dan": "potential"}
    assert matrix(before, after) == {
        ("regular", "vip"): 1,
        ("vip", "vip"): 1,
        ("regular", NOT_KNOWN): 1,
        (NOT_KNOWN, "potential"): 1,
    }
    assert members_at(SEGMENTS, at(6)) == {"loud": {"ann", "bob"}}
    assert members_at(SEGMENTS, at(10)) == {"loud": {"ann"}}


def test_R19_what_a_group_does_in_a_period_by_hand() -> None:
    events = EVENTS.select(ORDER)
    both = doing(events, np.array([True, True, False]), 28 * DAY_S, 56 * DAY_S)
    # Ann: purchases on two days (twice on one), 30 - 6 of money, a campaign used; Bob: none.
    assert both == Doing(
        customers=2, frequency=1.0, churn_rate=0.5, satisfaction=None, response_rate=0.5,
        revenue=12.0,
    )  # fmt: skip
    nobody = doing(events, np.zeros(3, bool), 0, 1)
    assert nobody == Doing(0, None, None, None, None, None)
    assert doing(events, np.array([False, False, True]), 0, 56 * DAY_S).satisfaction == 9.0


@pytest.fixture
def told() -> Told:
    """The small history."""
    return Told(
        moves={"grade": MOVES, "tier": ()},
        segment_moves=SEGMENTS,
        names={"loud": "Loud <b>ones</b>"},
        customers=("ann", "bob", "cid"),
        events=EVENTS.select(ORDER),
        counts={"grade": {"vip": 2}, "lifecycle": {"new": 3}, "quality": {"no_amounts": 1}},
        worth={"ann": 10.0, "bob": 30.0},
        currency="EUR",
    )


def test_R19_the_report_says_the_same_as_page_json_and_csv(told: Told) -> None:
    found = report(told, at(0), at(56), at(42), 14)
    assert found.worth["grade: vip"] == 20.0
    before, after = found.compared["grade: vip"]
    assert (before.frequency, after.frequency) == (1.0, 1.0)
    plain = json.loads(json.dumps(as_json(found)))
    assert {"from": "regular", "to": "vip", "customers": 1} not in plain["movement"]["grade"]
    assert plain["over_time"]["grade: regular"][1]["customers"] == 1
    assert as_csv(found).splitlines()[0].startswith("group,period_start,customers,frequency")
    page = render(segments_page(told, found))
    assert "Loud &lt;b&gt;ones&lt;/b&gt;" in page
    assert "<svg" in page
    assert "src=" not in page, "nothing is fetched"


def test_a_report_of_nothing_still_is_a_page(told: Told) -> None:
    empty = Told({}, (), {}, (), columns(time=np.array([])), {}, {}, "EUR")
    found = report(empty, at(0), at(0) + timedelta(days=1), at(0), 14)
    assert "Data quality" in render(segments_page(empty, found))
