"""Movement, effect and the report page, on a history that can be counted by hand (R19, R24)."""

import json
import re
from datetime import UTC, datetime, timedelta

import duckdb
import numpy as np
import pytest

from services.scoring.core.features.events import DAY_S
from services.scoring.core.segments.actions import Action, named
from services.scoring.core.segments.movement import (
    NOT_KNOWN,
    GroupBehaviour,
    doing,
    known_from,
    matrix,
    members_at,
    words_at,
)
from services.scoring.reports.segment_report import (
    ReportInput,
    as_csv,
    as_json,
    report,
    segments_page,
)
from services.scoring.training.data.event_table import from_parquet
from shared.kernel.errors import Invalid
from shared.report.page import render
from tests.unit.scoring.core.histories import DATA, columns


def at(day: float) -> datetime:
    """Return the time so many days after 1970."""
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
    before, after = words_at(MOVES, at(10)), words_at(MOVES, at(50))
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


def test_movement_begins_once_half_of_the_customers_are_known() -> None:
    """First grades at midnight of days 1, 2, 3 and 40: the second of four, and its day's end."""
    assert known_from(MOVES) == at(3)
    assert known_from([("eve", at(7.5), None), ("eve", at(9.5), "vip")]) == at(10)
    assert known_from([("eve", at(7.5), None)]) is None


def test_R19_what_a_group_does_in_a_period_by_hand() -> None:
    events = EVENTS.select(ORDER)
    both = doing(events, np.array([True, True, False]), 28 * DAY_S, 56 * DAY_S)
    # Ann: purchases on two days (twice on one), 30 - 6 of money, a campaign used; Bob: none.
    assert both == GroupBehaviour(
        customers=2, frequency=1.0, churn_rate=0.5, satisfaction=None, response_rate=0.5,
        revenue=12.0,
    )  # fmt: skip
    nobody = doing(events, np.zeros(3, bool), 0, 1)
    assert nobody == GroupBehaviour(0, None, None, None, None, None)
    assert doing(events, np.array([False, False, True]), 0, 56 * DAY_S).satisfaction == 9.0


@pytest.fixture
def reported() -> ReportInput:
    """Provide the small history."""
    return ReportInput(
        moves={"grade": MOVES, "tier": ()},
        segment_moves=SEGMENTS,
        names={"loud": "Loud <b>ones</b>"},
        customers=("ann", "bob", "cid"),
        events=EVENTS.select(ORDER),
        counts={"grade": {"vip": 2}, "lifecycle": {"new": 3}, "quality": {"no_amounts": 1}},
        worth={"ann": 10.0, "bob": 30.0},
        currency="EUR",
    )


def test_R19_the_report_has_the_same_figures_as_page_json_and_csv(reported: ReportInput) -> None:
    found = report(reported, at(0), at(56), at(42), 14)
    assert found.worth["grade: vip"] == 20.0
    vip = found.compared["grade: vip"]
    assert (vip.before.frequency, vip.after.frequency, vip.left_out) == (1.0, 1.0, 0)
    plain = json.loads(json.dumps(as_json(found)))
    assert {"from": "regular", "to": "vip", "customers": 1} not in plain["movement"]["grade"]
    assert plain["over_time"]["grade: regular"][1]["customers"] == 1
    lines = as_csv(found).splitlines()
    assert lines[0].startswith("group,period_start,customers,frequency")
    assert [line.split(",")[0] for line in lines if line.endswith(",after")] == [*found.compared]
    page = render(segments_page(reported, found))
    assert "Loud &lt;b&gt;ones&lt;/b&gt;" in page
    assert "<svg" in page
    assert "src=" not in page, "nothing is fetched"


SENT = Action("campaign:spring", {"ann": at(45.4), "bob": at(47)})


def test_R19_before_and_after_an_action_by_hand(reported: ReportInput) -> None:
    """The action was sent to Ann on day 45, to Bob on day 47; each has their own windows.

    Ann, days 31 to 44: one purchase day (twice on it) of 20. Days 45 to 58: one, 10 less a refund
    of 6, and the campaign used. Bob: nothing. Two weeks are half of four.
    """
    found = report(reported, at(0), at(61), SENT, 14)
    both = found.compared["everybody"]
    assert both.left_out == 0
    assert both.before == GroupBehaviour(2, 1.0, 0.5, None, None, 20.0)
    assert both.after == GroupBehaviour(2, 1.0, 0.5, None, 0.5, 4.0)
    assert found.compared["grade: vip"] == both
    assert found.compared["segment: Loud <b>ones</b>"].before == GroupBehaviour(
        1, 2.0, 0, None, None, 40.0
    )
    plain = as_json(found)
    assert (plain["around"], plain["action"]) == (None, "campaign:spring")
    assert plain["before_and_after"]["everybody"]["after"]["revenue"] == 4.0
    page = render(segments_page(reported, found))
    assert "Before and after: action campaign:spring" in page
    assert "is not yet an effect" in page
    assert not re.search(r"(because of|thanks to|caused|led to|due to) ", page.lower())


def test_R19_customers_without_whole_windows_are_left_out_and_counted(
    reported: ReportInput,
) -> None:
    """Bob's two weeks end with day 61; Ann first bought on day 10, 35 days before the action."""
    early = report(reported, at(0), at(60.5), SENT, 14).compared["everybody"]
    assert (early.before.customers, early.after.customers, early.left_out) == (1, 1, 1)
    assert report(reported, at(0), at(99), SENT, 34).compared["everybody"].left_out == 0
    assert report(reported, at(0), at(99), SENT, 35).compared["everybody"].left_out == 1
    assert report(reported, at(0), at(99), SENT, 36).compared["everybody"].after.customers == 0


@pytest.mark.parametrize("text", ["spring", "campaign:", "task:x", "weather:rain", ""])
def test_what_names_no_action_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match="campaign:ID"):
        named(text)


@pytest.mark.public_sets
def test_R19_around_a_real_campaign_the_figures_are_those_of_a_query() -> None:
    """Campaign 18 of completejourney, the largest; counted by DuckDB from the file itself."""
    path = DATA / "completejourney" / "events.parquet"
    if not path.exists():
        pytest.skip("completejourney is not here: set EBBWATCH_DATA to the folder of the data sets")
    with duckdb.connect() as db:
        sent = db.execute(
            f"SELECT customer_id, min(ts) FROM '{path}' WHERE campaign_id = 18 GROUP BY 1"  # noqa: S608
        ).fetchall()
        wanted = db.execute(
            f"""WITH sent AS (SELECT customer_id, min(ts)::date AS sent_on FROM '{path}'
                               WHERE campaign_id = 18 GROUP BY 1),
                     bought AS (SELECT customer_id, ts::date AS day, sum(amount) AS amount
                                  FROM '{path}' WHERE event_type = 'purchase' GROUP BY 1, 2),
                     fit AS (SELECT s.* FROM sent s
                       WHERE sent_on + 28 <= DATE '2017-12-31' AND EXISTS
                       (SELECT 1 FROM bought b WHERE b.customer_id = s.customer_id
                           AND b.day < s.sent_on - 28))
                SELECT (SELECT count(*) FROM fit), b.day >= f.sent_on AS after, count(*),
                       sum(amount)
                  FROM bought b JOIN fit f USING (customer_id)
                 WHERE b.day >= f.sent_on - 28 AND b.day < f.sent_on + 28 GROUP BY 2 ORDER BY 2"""  # noqa: S608
        ).fetchall()
    table = from_parquet(path)
    end = datetime(2017, 12, 31, tzinfo=UTC)
    action = Action("campaign:18", {str(c): t.replace(tzinfo=UTC) for c, t in sent})
    reported = ReportInput({}, (), {}, table.customers, table.events, {}, {}, "USD")
    found = report(reported, end - timedelta(days=28), end, action, 28).compared["everybody"]
    for (customers, _, days, amount), one in zip(wanted, (found.before, found.after), strict=True):
        assert one.customers == customers
        assert one.frequency == pytest.approx(days / customers)
        assert one.revenue == pytest.approx(amount / customers)
    assert found.left_out == len(sent) - found.before.customers
    assert found.before.customers > 500


def test_a_report_of_nothing_still_is_a_page(reported: ReportInput) -> None:
    empty = ReportInput({}, (), {}, (), columns(time=np.array([])), {}, {}, "EUR")
    found = report(empty, at(0), at(0) + timedelta(days=1), at(0), 14)
    assert "Data quality" in render(segments_page(empty, found))
