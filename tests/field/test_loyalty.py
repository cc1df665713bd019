"""Points that are about to expire unused are warned of before they expire, and only those.

Planted customers go through the cores of scoring and alerts, and through ingest's.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import pytest

from deploy.backtest.walk import Walked, setup_of, walk
from services.alerts.core.wording.catalogue import sentence
from services.ingest.core.rates import RateTable
from services.scoring.core.features.decode import columns_of, kind_of
from services.scoring.core.features.events import DAY_S, Kind
from services.scoring.core.features.fold import fold
from services.scoring.core.features.state import empty
from services.scoring.model.rule_model import RuleModel
from services.scoring.settings import ScoringSettings
from shared.contracts.risk import Reason
from tests.field.lives import BEGIN, END, Happened, Life
from tests.field.planted import SILENT_SHARE, Customer, lapse_days
from tests.field.runner import HORIZON_DAYS, default_policy
from tests.field.table import cloud_events, moment, second, table
from tests.unit.ingest.events import accept
from tests.unit.scoring.core.strategies import assert_states_equal

SEED: Final = 11
EACH: Final = 12
POINTS: Final = 1_200.0
EXPIRES_SHARE: Final = 0.62
"""Share of the lapse length at which points expire: before the silence alone is warned of."""


def quiet(name: str, number: int, *, points: bool) -> Customer:
    """Buys every other week until the walk begins, then stops.

    With `points`, those earned so far expire while the silence is still short of a warning.
    """
    life = Life(np.random.default_rng([SEED, number]))
    last = life.buys(life.between(200, 300), BEGIN + 10 + number, 14.0, 0.15)
    expires = float(np.floor(last + EXPIRES_SHARE * lapse_days(life.bought())))
    if points:
        report = Happened(
            last + 0.1, Kind.POINTS_EXPIRING, POINTS, balance=POINTS + 100, expires=expires
        )
        life.events += [_earned(life), report]
    return _customer(name, number, life)


def collector(number: int) -> Customer:
    """Buys all along, has plenty of points and spends some of them; a few expire each quarter."""
    life = Life(np.random.default_rng([SEED, 1, number]))
    life.buys(life.between(200, 300), END, 14.0)
    for day in np.arange(300.0, END - 40, 91.0).tolist():
        life.events.append(
            Happened(day, Kind.POINTS_EXPIRING, 90.0, balance=5_000.0, expires=np.floor(day) + 25)
        )
        life.events.append(Happened(day + 40, Kind.POINTS_SPENT, 300.0, balance=4_700.0))
    return _customer("collector", number, life)


def saver(number: int) -> Customer:
    """Goes quiet like the others, but has spent points lately: they do not expire unused."""
    found = quiet("saver", number, points=True)
    day = max(e.day for e in found.events if e.kind == Kind.PURCHASE)
    spent = Happened(day - 5, Kind.POINTS_SPENT, 50.0, balance=POINTS + 100)
    events = sorted([*found.events, spent], key=lambda e: e.day)
    return replace(found, events=events)


def _earned(life: Life) -> Happened:
    return Happened(life.bought()[0] + 0.1, Kind.POINTS_EARNED, POINTS + 100, balance=POINTS + 100)


def _customer(name: str, number: int, life: Life) -> Customer:
    return Customer(f"{name}-{number:02}", name, sorted(life.events, key=lambda e: e.day))


@pytest.fixture(scope="module")
def planted() -> Sequence[Customer]:
    """Returns quiet customers with and without points, savers and collectors."""
    numbers = range(EACH)
    return [
        *(quiet("expiring", n, points=True) for n in numbers),
        *(quiet("pointless", n, points=False) for n in numbers),
        *map(saver, numbers),
        *map(collector, numbers),
    ]


@pytest.fixture(scope="module")
def walked(planted: Sequence[Customer]) -> Walked:
    """Returns what the rule and the default policy raised."""
    setup = setup_of(ScoringSettings(), RuleModel(HORIZON_DAYS), default_policy())
    return walk(table(planted), second(BEGIN), second(END), setup)


def _warnings(walked: Walked, customer: str) -> list[tuple[float, str]]:
    found = [w for w in walked.warned if w.customer_id == customer]
    return [((w.at.timestamp() - second(0)) / DAY_S, w.cause) for w in found]


def test_points_that_expire_unused_raise_a_task_in_time(
    planted: Sequence[Customer], walked: Walked
) -> None:
    """The task comes before the last day of the points, and before the silence alone warns."""
    for customer in planted:
        if customer.kind != "expiring":
            continue
        (report,) = [e for e in customer.events if e.kind == Kind.POINTS_EXPIRING]
        day, cause = _warnings(walked, customer.id)[0]
        assert (cause, day <= report.expires) == ("points_expiring", True), customer.id
        other = _warnings(walked, customer.id.replace("expiring", "pointless"))
        assert day < other[0][0]


def test_the_owner_reads_how_many_points_expire_and_when(walked: Walked) -> None:
    """The date is the one that the programme reported."""
    warning = next(w for w in walked.warned if w.cause == "points_expiring")
    number = int(warning.customer_id[-2:])
    (report,) = [
        e for e in quiet("expiring", number, points=True).events if e.kind == Kind.POINTS_EXPIRING
    ]
    last = moment(report.expires)
    reason = Reason(code=warning.cause, impact=1.0, facts=warning.facts)
    assert sentence(reason, "en", "USD") == f"1,200 points expire on {last.day} {last:%B}"
    assert sentence(reason, "zh-CN", "USD") == f"1,200 积分将于 {last.month} 月 {last.day} 日到期"


def test_the_silence_joins_and_the_expiry_ends_nothing_else(
    planted: Sequence[Customer], walked: Walked
) -> None:
    """The silence is raised as early as without points, in the same task."""
    for customer in planted:
        if customer.kind == "expiring":
            bought = [e.day for e in customer.events if e.kind == Kind.PURCHASE]
            silences = [d for d, c in _warnings(walked, customer.id) if c != "points_expiring"]
            assert silences[0] <= bought[-1] + SILENT_SHARE * lapse_days(bought) + 1


@pytest.mark.parametrize("kind", ["collector", "saver", "pointless"])
def test_others_are_not_warned_of_for_points(
    planted: Sequence[Customer], walked: Walked, kind: str
) -> None:
    """Plenty of points, points in use, or none."""
    ours = {customer.id for customer in planted if customer.kind == kind}
    assert not [w for w in walked.warned if w.customer_id in ours and w.cause == "points_expiring"]


def test_a_normal_customer_with_plenty_of_points_is_left_in_peace(
    planted: Sequence[Customer], walked: Walked
) -> None:
    """At most one in ten collectors is warned of anything in nine months."""
    ours = {customer.id for customer in planted if customer.kind == "collector"}
    assert len({w.customer_id for w in walked.warned if w.customer_id in ours}) <= EACH // 10


def test_the_same_events_through_ingest_give_the_same_states(planted: Sequence[Customer]) -> None:
    """CloudEvents of the loyalty programme are the columns that were walked."""
    found = table(planted)
    rates = RateTable.parse("USD", "currency,from,rate\n")
    row = {name: at for at, name in enumerate(found.customers)}
    events = [
        accept(value, (), round(at.timestamp() * 1000), rates)
        for at, value in cloud_events(planted)
    ]
    columns = columns_of(events, [kind_of(e) for e in events], [row[e.subject] for e in events])
    direct = replace(found.events, source=columns.source * 0)
    n = len(found.customers)
    assert_states_equal(
        fold(empty(n), replace(columns, source=columns.source * 0)), fold(empty(n), direct)
    )
