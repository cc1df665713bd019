"""Needs derived from purchases: the interval, the odds, and the limits of the sketch (R3)."""

import doctest

import numpy as np
import pytest
from scipy.stats import binomtest

from services.scoring.core.features.compute import features
from services.scoring.core.features.decode import category_of
from services.scoring.core.features.events import EventColumns, Kind
from services.scoring.core.features.fold import fold
from services.scoring.core.features.state import CATEGORY_BUCKETS, empty
from services.scoring.core.risk.lapse import LapseClock, silences_of
from services.scoring.core.value import affinity as affinities
from services.scoring.core.value.affinity import Affinity, buckets, lower, needs_of, shares
from services.scoring.core.value.base import measure
from services.scoring.core.value.lifecycle import behaviour
from services.scoring.core.value.policy import ValuePolicy, parse
from services.scoring.training.data.event_table import DATA_ENV, EventTable, from_parquet
from shared.kernel.errors import Invalid
from tests.unit.scoring.core.histories import DATA

HEALTH = Affinity(categories={"health": ["NUTRITION"]})
AT = category_of("NUTRITION") % CATEGORY_BUCKETS


def counts(*hits_of: tuple[int, int]) -> np.ndarray:
    """Return sketches of customers with (purchases of NUTRITION, all purchases)."""
    made = np.zeros((len(hits_of), CATEGORY_BUCKETS), np.uint32)
    for row, (hits, of) in enumerate(hits_of):
        made[row, AT], made[row, (AT + 1) % CATEGORY_BUCKETS] = hits, of - hits
    return made


def test_the_example_in_the_docstring_runs() -> None:
    found = doctest.testmod(affinities, extraglobs={"np": np})
    assert (found.failed, found.attempted > 0) == (0, True)


def test_wilsons_bound_by_hand() -> None:
    """5 of 10, z^2 = 2.7057: (0.5 + 0.1353 - 1.6449 sqrt(0.025 + 0.00676)) / 1.2706 = 0.2693."""
    assert lower(np.array([5.0]), np.array([10.0]))[0] == pytest.approx(0.2693, abs=1e-4)
    assert np.isnan(lower(np.array([0.0]), np.array([0.0]))[0])


def test_R3_a_need_is_buying_clearly_more_of_it_than_the_base_does() -> None:
    """The base buys 10 % of it, odds 1 / 9: a need from odds of 2 / 9 on, a share of 0.1818.

    Lower bounds by hand: 4 of 10 has 0.1880, 3 of 10 has 0.1250, 30 of 100 has 0.2304, 25 of 100
    has 0.1860, 24 of 100 has 0.1773; 4 of 9 is too few purchases.
    """
    base = np.full(CATEGORY_BUCKETS, 0.06)
    base[AT] = 0.1
    seen = counts((4, 10), (3, 10), (30, 100), (25, 100), (24, 100), (4, 9), (0, 50), (0, 0))
    found = needs_of(seen, base, HEALTH)["health"]
    assert found.tolist() == [True, False, True, True, False, False, False, False]


def test_without_mapping_or_base_nothing_is_stated() -> None:
    seen = counts((10, 10))
    assert needs_of(seen, None, HEALTH) == {}
    assert needs_of(seen, np.full(CATEGORY_BUCKETS, np.nan), HEALTH) == {}
    assert needs_of(seen, np.full(CATEGORY_BUCKETS, 1 / 16), Affinity()) == {}


def test_a_category_that_the_base_never_or_always_buys_divides_by_nothing() -> None:
    never, always = np.zeros(CATEGORY_BUCKETS), np.zeros(CATEGORY_BUCKETS)
    always[AT] = 1.0
    seen = counts((10, 10), (0, 10))
    assert needs_of(seen, never, HEALTH)["health"].tolist() == [True, False]
    assert needs_of(seen, always, HEALTH)["health"].tolist() == [False, False]


def test_shares_count_every_customer_alike() -> None:
    assert shares(counts((1, 2), (0, 90), (0, 0)))[AT] == pytest.approx(0.25)
    assert np.isnan(shares(counts((0, 0)))).all()


@pytest.mark.parametrize(
    ("categories", "field"),
    [
        # All three words hash to one bucket.
        ({"health": ["PRODUCE"], "price_sensitive": ["DRUG GM"]}, "price_sensitive"),
        ({"all": [f"word {n}" for n in range(40)]}, "all"),
    ],
)
def test_what_the_sketch_cannot_tell_apart_is_refused(
    categories: dict[str, list[str]], field: str
) -> None:
    with pytest.raises(Invalid) as found:
        affinities.check(Affinity(categories=categories))
    assert found.value.field == f"affinity.categories.{field}"


def test_one_category_may_tell_of_two_needs() -> None:
    affinities.check(Affinity(categories={"a": ["PRODUCE"], "b": ["PRODUCE", "NUTRITION"]}))


@pytest.mark.parametrize(
    "text",
    [
        '{"affinity": {"categories": {"Price Sensitive": ["X"]}}}',
        '{"affinity": {"categories": {"health": []}}}',
        '{"affinity": {"odds": 0.5}}',
        '{"affinity": {"categories": {"health": [""]}}}',
    ],
)
def test_R15_a_mapping_that_means_nothing_is_refused(text: str) -> None:
    with pytest.raises(Invalid) as found:
        parse(text)
    assert found.value.field.startswith("affinity")


@pytest.fixture(scope="module")
def groceries() -> EventTable:
    """Provide a panel of 2,469 households and 24 departments."""
    path = DATA / "completejourney" / "events.parquet"
    if not path.exists():
        pytest.skip(f"completejourney is not here: set {DATA_ENV} to the folder of the data sets")
    return from_parquet(path)


def stated(groceries: EventTable, need: str, *categories: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the need of each household, from the sketch and from the departments themselves.

    Both are bool[households]; the second uses SciPy's interval.
    """
    events, n = groceries.events, len(groceries.customers)
    states = fold(empty(n), events)
    x = features(states, np.full(n, groceries.observed_until))
    base = measure(x, np.zeros(n), states["categories"], ValuePolicy(), LapseClock())
    mapped = Affinity(categories={need: list(categories)})
    shown = needs_of(states["categories"], np.array(base.categories), mapped)[need]
    named = named_purchases(events)
    total = np.bincount(named.row, minlength=n)
    hits = np.bincount(
        named.row[np.isin(named.category, [category_of(c) for c in categories])], minlength=n
    )
    usual = base_share(groceries, hits / np.maximum(total, 1), total, x)
    exact = np.zeros(n, np.bool_)
    for row in np.flatnonzero((total >= 10) & (hits > 0)):
        test = binomtest(int(hits[row]), int(total[row]), alternative="greater")
        low = test.proportion_ci(0.95, method="wilson").low
        exact[row] = low / (1 - low) >= 2 * usual / (1 - usual) if low < 1 else True
    return shown, exact


def named_purchases(events: EventColumns) -> EventColumns:
    """Return the purchases with a department."""
    return events.select((events.kind == Kind.PURCHASE) & (events.category > 0))


def base_share(groceries: EventTable, share: np.ndarray, total: np.ndarray, x: np.ndarray) -> float:
    """Return the mean share of customers who have not lapsed."""
    living = (behaviour(silences_of(x, LapseClock())) != 2) & (total > 0)
    return float(share[living].mean())


@pytest.mark.public_sets
def test_R3_on_real_baskets_a_bucket_of_its_own_equals_its_department(
    groceries: EventTable,
) -> None:
    shown, exact = stated(groceries, "health", "NUTRITION")
    assert shown.tolist() == exact.tolist()
    assert 10 < shown.sum() < 500


@pytest.mark.public_sets
def test_on_real_baskets_a_shared_bucket_equals_its_departments_together(
    groceries: EventTable,
) -> None:
    """DRUG GM, PRODUCE and RESTAURANT share a counter: the worst case of these 24 departments."""
    together = ("DRUG GM", "PRODUCE", "RESTAURANT")
    assert len({category_of(one) % CATEGORY_BUCKETS for one in together}) == 1
    shown, exact = stated(groceries, "fresh", "PRODUCE")
    mixed, exactly_mixed = stated(groceries, "fresh", *together)
    assert shown.tolist() == mixed.tolist() == exactly_mixed.tolist()
    wrong = shown & ~exact
    _, others = stated(groceries, "other", "DRUG GM", "RESTAURANT")
    # Customers added by the collision buy its other departments clearly more, or nearly so.
    assert (wrong & others).sum() >= 0.8 * wrong.sum()
    assert (exact & shown).sum() < exact.sum(), "and it hides some who buy only produce"


@pytest.mark.public_sets
def test_R15_another_mapping_needs_no_other_base(groceries: EventTable) -> None:
    states = fold(empty(len(groceries.customers)), groceries.events)
    x = features(states, np.full(len(states), groceries.observed_until))
    base = measure(x, np.zeros(len(x)), states["categories"], ValuePolicy(), LapseClock())
    assert sum(base.categories) == pytest.approx(1.0)
    usual = np.array(base.categories)
    found = [
        needs_of(states["categories"], usual, Affinity(categories={"need": [word]}))["need"].sum()
        for word in ("FUEL", "NUTRITION", "MISCELLANEOUS")
    ]
    assert all(0 < n < len(x) / 2 for n in found)
    assert buckets(HEALTH) == {"health": [AT]}
