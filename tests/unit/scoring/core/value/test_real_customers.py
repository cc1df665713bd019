"""Classifications of real customers, compared with queries of the files themselves."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import duckdb
import numpy as np
import pytest

from services.scoring.core.features.compute import features
from services.scoring.core.features.fold import fold
from services.scoring.core.features.state import empty
from services.scoring.core.risk.lapse import LapseClock, silences_of
from services.scoring.core.segments.movement import matrix
from services.scoring.core.segments.rules import SegmentRules, rule
from services.scoring.core.value.base import CHURNED, measure
from services.scoring.core.value.classify import (
    Before,
    Classifications,
    Risk,
    Valuation,
    assess,
)
from services.scoring.core.value.grades import GRADES, REGULAR, TIERS, VIP
from services.scoring.core.value.lifecycle import behaviour
from services.scoring.core.value.policy import Cut, ValuePolicy
from services.scoring.training.data.event_table import DATA_ENV, EventTable, from_parquet
from tests.unit.scoring.core.histories import DATA

POLICY = ValuePolicy()
CLOCK = LapseClock()
WEEK_S = 7 * 86_400.0

pytestmark = pytest.mark.public_sets


def table(name: str) -> EventTable:
    """Return all events of a public history."""
    path = DATA / name / "events.parquet"
    if not path.exists():
        pytest.skip(f"{name} is not here: set {DATA_ENV} to the folder of the data sets")
    return from_parquet(path)


@pytest.fixture(scope="module")
def groceries() -> EventTable:
    """Provide a supermarket panel."""
    return table("completejourney")


@pytest.fixture(scope="module")
def gifts() -> EventTable:
    """Provide a wholesaler's history, with cancellations."""
    return table("online_retail_ii")


def asked(name: str, select: str) -> list[Any]:
    """Return the rows of a query on the file."""
    with duckdb.connect() as db:
        path = DATA / name / "events.parquet"
        db.execute(f"CREATE VIEW e AS SELECT * FROM '{path}'")  # noqa: S608 (a path of ours)
        return db.execute(select).fetchall()


@dataclass(frozen=True, slots=True)
class Look:
    """The classifications of all customers at one time."""

    x: np.ndarray
    said: Classifications
    before: Before


def look(
    events: EventTable, at: float, by: Valuation | None = None, before: Before | None = None
) -> Look:
    """Classify all customers at a time, by a base measured then unless one is given."""
    n = len(events.customers)
    states = fold(empty(n), events.between(-np.inf, at))
    x, sketch = features(states, np.full(n, at)), states["categories"]
    by = by or Valuation()
    if by.base is None:
        by = replace(by, base=measure(x, np.zeros(n), sketch, by.policy, by.clock))
    none = np.zeros(n)
    risk = Risk(none.astype(np.int8), none, none)
    before = before or Before.nothing(n)
    said = assess(x, np.full(n, at), risk, sketch, [None] * n, before, by)
    after = replace(
        before, at=np.full(n, at), grade=said.grade, tier=said.tier,
        behaviour=said.behaviour, lifecycle=said.lifecycle, lifecycle_since=said.lifecycle_since,
    )  # fmt: skip
    return Look(x, said, after)


def test_R23_quintiles_of_a_real_base_hold_a_fifth_each(groceries: EventTable) -> None:
    found = look(groceries, groceries.observed_until)
    living = behaviour(silences_of(found.x, CLOCK)) != CHURNED
    for scores in found.said.rfm:
        held = np.bincount(scores[living], minlength=6)
        assert held[0] == 0
        # Equal values have equal scores, so a group is not exactly a fifth of the customers.
        assert held[1:] == pytest.approx(living.sum() / 5, rel=0.15)
    spent = asked(
        "completejourney",
        f"""SELECT customer_id, sum(amount) FROM e WHERE event_type = 'purchase'
               AND epoch(ts) < {groceries.observed_until} GROUP BY 1""",  # noqa: S608
    )
    net = dict(spent)
    money = np.array([net[name] for name in groceries.customers])
    edges = np.quantile(money[living], [0.2, 0.4, 0.6, 0.8])
    wanted = 1 + (money[:, None] > edges).sum(axis=1)
    assert wanted.tolist() == found.said.rfm[2].tolist()


def test_R1_R12_shares_of_a_real_base_and_another_policy_by_the_next_look(
    groceries: EventTable,
) -> None:
    end = groceries.observed_until
    found = look(groceries, end)
    living = behaviour(silences_of(found.x, CLOCK)) != CHURNED
    assert (found.said.tier[living] == 0).mean() == pytest.approx(0.2, abs=0.01)
    assert (found.said.tier[living] <= 1).mean() == pytest.approx(0.5, abs=0.01)
    assert (found.said.grade[living] == VIP).mean() == pytest.approx(0.1, abs=0.01)
    fewer = Valuation(ValuePolicy(vip=Cut(share=0.02), margin=0.0))
    again = look(groceries, end, fewer, found.before).said
    assert (again.grade[living] == VIP).mean() == pytest.approx(0.02, abs=0.005)
    demoted = (found.said.grade == VIP) & (again.grade != VIP)
    assert set(again.grade[demoted].tolist()) <= {REGULAR, GRADES.index("potential")}


def test_R1_the_margin_keeps_real_customers_from_flapping(groceries: EventTable) -> None:
    """Thirteen weekly assessments by one base: counts tiers that change and change back at once."""
    end = groceries.observed_until
    base = measured(groceries, end - 13 * WEEK_S)

    def flaps(margin: float) -> int:
        before, said = None, []
        for week in range(13):
            by = Valuation(ValuePolicy(margin=margin), base=base)
            found = look(groceries, end - (12 - week) * WEEK_S, by, before)
            before = found.before
            said.append(found.said.tier)
        return sum(
            int(((a == c) & (a != b)).sum())
            for a, b, c in zip(said, said[1:], said[2:], strict=False)
        )

    assert flaps(0.1) < 0.5 * flaps(0.0)


def measured(events: EventTable, at: float) -> Any:
    """Return the base at a time."""
    n = len(events.customers)
    states = fold(empty(n), events.between(-np.inf, at))
    x = features(states, np.full(n, at))
    return measure(x, np.zeros(n), states["categories"], POLICY, CLOCK)


def test_R24_movement_of_real_customers_between_two_dates_adds_up(groceries: EventTable) -> None:
    end = groceries.observed_until

    def words(found: Look) -> dict[str, str]:
        tiers = zip(groceries.customers, found.said.tier, strict=True)
        return {name: TIERS[code] for name, code in tiers if code >= 0}

    early = look(groceries, end - 26 * WEEK_S)
    late = look(groceries, end, before=early.before)
    before, after = words(early), words(late)
    pairs = matrix(before, after)
    assert sum(pairs.values()) == len(before.keys() | after.keys())
    for word in TIERS:
        held = sum(n for (was, _), n in pairs.items() if was == word)
        assert held == sum(one == word for one in before.values())
        assert sum(n for (_, now), n in pairs.items() if now == word) == sum(
            one == word for one in after.values()
        )
    assert pairs["high", "high"] > pairs.get(("high", "low"), 0)


def test_R20_refunds_beyond_purchases_are_flagged_as_a_query_finds_them(gifts: EventTable) -> None:
    found = look(gifts, gifts.observed_until).said
    flagged = {
        name
        for name, flags in zip(gifts.customers, found.quality, strict=True)
        if "refunds_exceed_purchases" in flags
    }
    rows = asked(
        "online_retail_ii",
        f"""SELECT customer_id FROM e WHERE epoch(ts) < {gifts.observed_until}
             GROUP BY 1 HAVING sum(CASE event_type WHEN 'purchase' THEN amount
                                   ELSE -abs(amount) END) < -1e-6""",  # noqa: S608
    )
    assert flagged == {str(name) for (name,) in rows}
    assert flagged
    value = dict(zip(gifts.customers, found.life.value, strict=True))
    assert all(not value[name] < 0 for name in flagged), "never negative"


@pytest.mark.parametrize(
    ("source", "having"),
    [
        ("spent > 1000.0 && purchases >= 5", "sum(amount) > 1000 AND count(*) >= 5"),
        ("recency_days > 60.0 || purchases == 1", "max(ts) < {end} - 60 * 86400 OR count(*) = 1"),
        ("spent / purchases > 500.0", "sum(amount) / count(*) > 500"),
    ],
)
def test_R16_rules_over_real_customers_find_the_same_as_a_query(
    gifts: EventTable, source: str, having: str
) -> None:
    end = gifts.observed_until
    by = Valuation(rules=SegmentRules(1, (rule("one", 1, 1, source),)))
    members = look(gifts, end, by).said.members[0]
    wanted = having.replace("max(ts)", "epoch(max(ts))").format(end=end)
    rows = asked(
        "online_retail_ii",
        f"""SELECT customer_id FROM e WHERE event_type = 'purchase' AND amount >= 0
               AND epoch(ts) < {end} GROUP BY 1 HAVING {wanted}""",  # noqa: S608
    )
    assert names_of(gifts, members) == {str(name) for (name,) in rows}
    assert 0 < members.sum() < len(members)


def lapse_length(days: list[int], r: float, alpha: float) -> float:
    """Return the lapse length in days, from sorted distinct purchase days."""
    gaps = [late - early for early, late in pairwise(days)]
    if len(days) >= 5:
        gap = sum(gaps[-12:]) / len(gaps[-12:])
    else:
        gap = (alpha + sum(gaps)) / (r + len(gaps))
    length = min(max(4 * gap, 28), 180)
    a_year_ago = days[-1] - 364
    season = max(
        (gap for start, gap in zip(days, gaps, strict=False) if abs(start - a_year_ago) <= 28),
        default=0,
    )
    return max(length, min(1.25 * season, 450)) if season >= length else length


def names_of(events: EventTable, members: Sequence[bool] | np.ndarray) -> set[str]:
    """Return the customers under a mask."""
    return {events.customers[row] for row in np.flatnonzero(members)}


def test_R2_behaviour_of_real_customers_is_elapsed_time_alone(gifts: EventTable) -> None:
    """Silence and purchase days come from a query, the lapse length from Python."""
    end = gifts.observed_until
    base = measured(gifts, end)
    found = look(gifts, end, Valuation(base=base)).said.behaviour
    rows = asked(
        "online_retail_ii",
        f"""SELECT customer_id, ({end} - epoch(max(ts))) / 86400,
                   list_sort(list(DISTINCT epoch(ts::date)::BIGINT // 86400))
              FROM e WHERE event_type = 'purchase' AND epoch(ts) < {end} GROUP BY 1""",  # noqa: S608
    )
    wanted = {}
    for name, silence, days in rows:
        length = lapse_length(days, base.buying.r, base.buying.alpha)
        wanted[str(name)] = int(silence >= 0.6 * length) + int(silence >= length)
    said = dict(zip(gifts.customers, found.tolist(), strict=True))
    assert {name: said[name] for name in wanted} == wanted
    assert {said[name] for name in said.keys() - wanted.keys()} <= {-1}, "nobody else bought"
    assert set(wanted.values()) == {0, 1, 2}
