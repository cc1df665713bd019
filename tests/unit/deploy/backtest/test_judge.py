"""The judge's definitions, by hand on a small history and beside a reference on others."""

from collections.abc import Sequence
from datetime import datetime

import numpy as np
import pytest

from deploy.backtest.judge import Figures, Judged, Warnings, judge
from deploy.backtest.occasions import silences
from services.scoring.core.features.events import DAY_S, EventColumns, Kind
from services.scoring.training.data.event_table import (
    EventBatch,
    EventTable,
    from_columns,
    named,
)
from shared.kernel.errors import Invalid
from tests.unit.deploy.backtest import reference

BEGIN, END = 28, 60


def bought(days: dict[str, Sequence[float]], amount: dict[str, float] | None = None) -> EventTable:
    """Return purchases on these days; amounts are 10 unless given."""
    who = [name for name, at in days.items() for _ in at]
    n = len(who)
    columns = EventColumns(
        row=np.zeros(n, np.int64),
        kind=np.full(n, int(Kind.PURCHASE), np.uint8),
        time=np.array([at * DAY_S for each in days.values() for at in each], np.float64),
        amount=np.array([(amount or {}).get(name, 10.0) for name in who]),
        score=np.full(n, np.nan),
        key=np.arange(n, dtype=np.uint64),
        category=np.zeros(n, np.uint64),
        cost=np.full(n, np.nan),
        channel=np.zeros(n, np.uint8),
    )
    return from_columns([EventBatch(who, columns)])


HISTORY = bought(
    {
        "ann": [0, 7, 14, 21, 28],  # weekly, then gone: a lapse of 28 days
        "bob": [0, 10, 20, 30, 40, 65],  # returns after 25 of 40 days
        "cat": [*range(0, 101, 7), 100.5],  # weekly all along
        "dan": [0, 14, 28.5, 42, 56],  # fortnightly, then gone; 56 days end after the data
        "eve": [0, 2, 2.5, 10, 20, 30.75],  # two on one day; a lapse of 30 days; buys for less
    },
    {"eve": 5.0},
)


def judged(**warned: float) -> Judged:
    """Judge one warning for each of these customers, on these days."""
    row = [HISTORY.customers.index(name) for name in warned]
    warnings = Warnings(np.array(row, np.int64), np.array([*warned.values()]) * DAY_S)
    return judge(HISTORY, warnings, BEGIN * DAY_S, END * DAY_S)


def test_silences_of_established_customers_have_their_rhythm() -> None:
    """Silences of established customers, with the rhythm that they had before."""
    found = silences(HISTORY)
    eve = int(np.flatnonzero(found.row == HISTORY.customers.index("eve"))[-1])
    assert found.start[eve] == 30.75
    assert (found.gap[eve], found.length[eve]) == (7.5, 30.0)  # gaps of 2, 8, 10 and 10 days


def test_warnings_are_judged_as_by_hand() -> None:
    """Ann's warning is in time, Bob's in vain, Eve's too late; Cat and Dan have none."""
    found = judged(ann=28 + 20, bob=40 + 22, eve=30.75 + 23.5)
    # Silences from day 28 on: Ann 1, Bob 1 (of day 40), Cat 5, Eve 1; Dan's is not over.
    assert (found.silences, found.customers, found.lapses) == (8, 5, 2)
    assert (found.given, found.outside) == (3, 0)
    assert found.ours == Figures(
        warned=3,
        noticed=1,
        budget=round(100 * 3 / (5 * 32 / 30), 2),
        precision=0.6667,
        precision_in_time=0.3333,
        recall=0.5,
        value_recall=round(50 / (50 + 30), 4),
        at_gaps_median=2.86,
        lead_days_median=8.0,
    )


@pytest.mark.parametrize(("silent", "timely"), [(21.0, 1.0), (21.9, 1.0), (22.0, 0.0)])
def test_in_time_is_until_three_quarters_in_whole_days(silent: float, timely: float) -> None:
    """Of 28 days, the twenty-first counts."""
    assert judged(ann=28 + silent).ours.precision_in_time == timely


@pytest.mark.parametrize("at", [27.9, 28 + 28])
def test_neither_before_the_silence_nor_once_it_lapsed(at: float) -> None:
    """A warning before the last purchase is about another silence; one at the lapse is none."""
    assert judged(ann=at).ours.warned == 0


def test_the_first_warning_of_a_silence_counts() -> None:
    """A second one in the same silence neither counts nor is an extra warning."""
    row = HISTORY.customers.index("ann")
    two = Warnings(np.array([row, row]), np.array([28 + 25, 28 + 10]) * DAY_S)
    found = judge(HISTORY, two, BEGIN * DAY_S, END * DAY_S)
    assert (found.ours.warned, found.ours.lead_days_median, found.outside) == (1, 18.0, 0)


def test_rules_of_three_and_of_two_gaps_warn_as_by_hand() -> None:
    """Three gaps warn about Ann and Eve; two also about Bob, who has been silent for 20 days."""
    found = judged(ann=28 + 20)
    assert {name: rule.warned for name, rule in found.rules.items()} == {
        "1.5": 3, "2": 3, "2.5": 2, "3": 2,
    }  # fmt: skip
    assert found.rules["3"].recall == 1.0


def test_rules_that_warn_as_often() -> None:
    """One warning is half of those of three gaps: at random, or by the most spending (Ann's)."""
    found = judged(ann=28 + 20)
    assert (found.as_often.gaps, found.as_often.thinned_to) == (3.0, 0.5)
    assert (found.as_often.figures.warned, found.as_often.figures.recall) == (1, 0.5)
    assert (found.by_spending.warned, found.by_spending.value_recall) == (1, 0.625)
    three = judged(ann=28 + 20, bob=40 + 22, eve=30.75 + 5)
    assert three.as_often.figures.warned == 3


def test_without_warnings_there_is_no_share() -> None:
    """There is nothing to divide by."""
    ours = judged().ours
    assert (ours.warned, ours.precision, ours.recall, ours.lead_days_median) == (0, None, 0.0, None)


def as_the_reference(figures: Figures) -> dict[str, object]:
    """Return the figures that the reference has."""
    found = {name: getattr(figures, name) for name in Figures.__struct_fields__}
    assert found.pop("noticed") <= figures.warned  # which the reference leaves out
    return found


def assert_the_same(table: EventTable, warnings: Warnings, begin_s: float, end_s: float) -> None:
    """Fail unless every figure is the same, to the digit."""
    found = judge(table, warnings, begin_s, end_s)
    names, bought_in = np.array(table.customers), table.events.kind == Kind.PURCHASE
    shown = reference.evaluate(
        zip(
            names[table.events.row[bought_in]].tolist(),
            (table.events.time[bought_in] / DAY_S).tolist(),
            np.nan_to_num(table.events.amount[bought_in]).tolist(),
            strict=True,
        ),
        list(zip(names[warnings.row].tolist(), (warnings.at / DAY_S).tolist(), strict=True)),
        begin_s / DAY_S,
        end_s / DAY_S,
    )
    assert as_the_reference(found.ours) == shown["ours"]
    often = as_the_reference(found.as_often.figures) | {"k": found.as_often.gaps}
    if found.as_often.thinned_to is not None:
        often["thinned_to"] = found.as_often.thinned_to
    assert often == shown["as_often"]
    assert as_the_reference(found.by_spending) == shown["by_spending"]
    rules = {float(gaps): as_the_reference(rule) for gaps, rule in found.rules.items()}
    assert rules == shown["rules"]
    assert (found.silences, found.customers, found.lapses, found.outside) == tuple(
        shown[name] for name in ("silences", "customers", "lapses", "outside")
    )


def some_warnings(table: EventTable, part: float) -> Warnings:
    """Return warnings of this part of the silences, each after about two usual gaps."""
    every, random = silences(table), np.random.default_rng(1)
    some = random.random(len(every)) < part
    late = np.maximum(3.0, 2.0 * every.gap * random.uniform(0.5, 1.3, len(every)))
    return Warnings(every.row[some], np.round((every.start + late)[some] * DAY_S))


@pytest.mark.parametrize("part", [0.02, 0.3, 1.0])
def test_figures_equal_those_of_the_reference(part: float) -> None:
    """On buyers with gaps of 2 to 30 days, of whom some stop; several purchases on some days."""
    random = np.random.default_rng(7)
    days = {
        f"c-{n}": np.cumsum(random.exponential(2 + n % 28, random.integers(3, 60))).tolist()
        for n in range(120)
    }
    amounts = {name: 5.0 + n for n, name in enumerate(days)}
    table = bought(days, amounts)
    found = silences(table)
    assert len(found) > 1_000
    assert_the_same(table, some_warnings(table, part), 60 * DAY_S, 240 * DAY_S)


@pytest.mark.public_sets
@pytest.mark.parametrize("part", [0.02, 0.3, 1.0])
@pytest.mark.parametrize(
    ("name", "begin", "end"),
    [
        ("completejourney", "2017-10-01", "2017-12-04"),
        ("online_retail_ii", "2010-11-01", "2011-03-01"),
        ("cdnow", "1997-10-01", "1998-03-01"),
    ],
)
def test_figures_equal_those_of_the_reference_on_real_histories(
    name: str, begin: str, end: str, part: float
) -> None:
    try:
        table = named(name)
    except Invalid:
        pytest.skip(f"{name} is not here: set EBBWATCH_DATA to the folder of the data sets")
    begin_s, end_s = (datetime.fromisoformat(f"{day}T00:00Z").timestamp() for day in (begin, end))
    assert_the_same(table, some_warnings(table, part), begin_s, end_s)
