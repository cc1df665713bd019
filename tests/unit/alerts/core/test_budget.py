"""The level of a budget: found on candidates and on a history, and stored."""

import random
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import pytest
from msgspec.structs import replace

from services.alerts.core.budget import (
    BudgetHistory,
    CandidateWarning,
    PastLapse,
    curve,
    level,
    point,
    tuned,
)
from services.alerts.core.budget_tuning import TuningResult, find
from services.alerts.core.customer import CustomerState, Joined, Raised
from services.alerts.core.dry_run import DryRunResult, judged, try_customers
from services.alerts.core.policy_document import Policy, plain, read
from shared.contracts.events import Owner, Profile
from shared.contracts.risk import Classification, RiskAssessed
from tests.unit.alerts.samples import LAPSE, assessed, day, play, sign

HIGH = Classification(tier="high")


def candidate(customer: str, value: float, right: bool | None = None) -> CandidateWarning:
    """Return a warning on day 0."""
    return CandidateWarning(customer, value, day(0), right)


@pytest.mark.parametrize("most", [0, 0.9, 1, 7, 19.99, 20, 39, 40, 100])
def test_the_level_leaves_at_most_as_many_as_wanted_and_no_fewer_than_it_must(most: float) -> None:
    chance = random.Random(3)  # noqa: S311 (an example, not a secret)
    values = [round(chance.expovariate(0.1)) + 1.0 for _ in range(40)]  # many are equal
    made = [candidate(str(n), value) for n, value in enumerate(values)]
    least = level(made, most)
    left = sum(value >= least for value in values)
    assert left <= most or (least == 0.0 and left <= most)
    lower = max((value for value in values if value < least), default=None)
    if lower is not None:
        assert sum(value >= lower for value in values) > most
    assert (least == 0.0) == (most >= 40)


def test_without_amounts_nothing_is_held_back() -> None:
    """All customers are worth the same, and a level above all of them would end all warnings."""
    assert level([candidate(str(n), 0.0) for n in range(9)], 3) == 0.0


def test_a_point_has_the_cost_and_the_catch_of_a_level() -> None:
    history = BudgetHistory(
        [candidate("a", 10.0, right=True), candidate("b", 30.0, right=False),
         candidate("c", 5.0)],
        [PastLapse("a", day(-20), day(0.5)), PastLapse("b", day(-20), day(9)),
         PastLapse("d", day(0), day(9))],
        customers=50,
        days=60.0,
    )  # fmt: skip
    every = point(history, 0.0)
    assert (every.warnings, every.warnings_per_100) == (3, 3.0)
    assert (every.precision, every.recall, every.value_kept) == (0.5, 2 / 3, 1.0)
    fewer = point(history, 30.0)
    assert (fewer.warnings, fewer.value_kept) == (1, 30 / 45)
    assert (fewer.precision, fewer.recall) == (0.0, 1 / 3)
    nothing = point(BudgetHistory([], [], 0, 60.0), 0.0)
    assert (nothing.warnings_per_100, nothing.precision, nothing.recall) == (0.0, None, None)


def test_the_curve_has_ever_fewer_warnings() -> None:
    made = [candidate(str(n), float(n + 1)) for n in range(100)]
    points = curve(BudgetHistory(made, [], 100, 30.0))
    counts = [each.warnings for each in points]
    assert counts == [100, 80, 60, 50, 40, 30, 20, 15, 10, 5]
    assert [each.expected_value_min for each in points] == [0.0, *(101.0 - n for n in counts[1:])]


def silence(
    customer: str, value: float, *, back: float | None = None, own: bool = True
) -> list[RiskAssessed]:
    """Return the assessments of a customer who stops on day 0, every third day.

    The value at risk grows, the expected value does not. `back`: buys again on that day; `own`: has
    a rhythm of their own.
    """
    made = []
    for n, at in enumerate(range(3, 45, 3)):
        last = 0.0 if back is None or at <= back else back
        silent = at - last
        share = silent / 30
        made.append(
            assessed(n, at, "low", customer_id=customer, standing=HIGH, days_silent=silent,
                     last_purchase_at=day(last), expected_value=value,
                     value_at_risk=value * min(share, 1.0), lapse=replace(LAPSE, own_rhythm=own),
                     signs=[sign("silence_beyond_rhythm")] if share >= 0.5 else [])
        )  # fmt: skip
    return made


HISTORIES: dict[str, Sequence[RiskAssessed]] = {
    "leaves": silence("leaves", 100.0),
    "small": silence("small", 10.0),
    "comes back": silence("comes back", 50.0, back=20.0),
    "new": silence("new", 70.0, own=False),
    "complains": [assessed(1, 5, customer_id="complains", signs=[sign("complaint_open")])],
}
BOUGHT: dict[str, list[datetime]] = {"comes back": [day(20)]}
PROFILES = {"leaves": Profile(owner=Owner(id="o-1")), "small": Profile(owner=Owner(id="o-1"))}


def found() -> TuningResult:
    made = TuningResult()
    find(made, Policy(), HISTORIES, BOUGHT, PROFILES, day(60))
    return made


def test_a_history_is_walked_as_it_would_be_live_without_a_budget() -> None:
    made = found()
    names = [each.customer_id for each in made.candidates]
    assert names == ["leaves", "small", "comes back", "comes back"]  # feedback has no budget
    assert made.candidates[0] == CandidateWarning("leaves", 100.0, day(18), True)
    assert made.candidates[2:] == [
        CandidateWarning("comes back", 50.0, day(18), False),
        CandidateWarning("comes back", 50.0, day(39), True),
    ]
    assert [(each.customer_id, each.at) for each in made.lapses] == [
        ("leaves", day(30)),
        ("small", day(30)),
    ]
    assert (made.customers, made.owners) == (4, {"o-1"})


def test_newcomers_are_limited_but_not_counted() -> None:
    """Newcomers count neither as customers, nor with their warnings and lapses."""
    made, new = TuningResult(), {"new": HISTORIES["new"]}
    find(made, Policy(), new, {}, {}, day(60))
    assert made.history(60.0) == BudgetHistory([], [], 0, 60.0)
    assert [raised(new, least) for least in (70.0, 70.1)] == [[(day(18), "new")], []]


def test_a_budget_holds_customers_back_and_delays_no_warning() -> None:
    """A customer above the level is warned about on the same day as under the plain policy.

    This holds though less value is at risk on that day.
    """
    free = raised(HISTORIES, 0.0)
    assert (day(18), "leaves") in free
    assert raised(HISTORIES, 100.0) == [(day(18), "leaves")]
    assert raised(HISTORIES, 50.0) == [each for each in free if each[1] != "small"]


def raised(
    histories: dict[str, Sequence[RiskAssessed]], least: float
) -> list[tuple[datetime, str]]:
    """Return when which customer is warned about because of numbers, in the order of customers."""
    policy = read({"budget": {"expected_value_min": least},
                   "signs": {"complaint_open": {"enabled": False}}})  # fmt: skip
    return [
        (message.assessed_at, customer)
        for customer, messages in histories.items()
        for message, decision in zip(
            messages, play(CustomerState(customer), *messages, policy=policy), strict=True
        )
        if any(isinstance(step, Raised | Joined) for step in decision.steps)
    ]


@pytest.mark.parametrize("least", [0.0, 6.0, 10.1, 50.0, 50.1, 100.0, 101.0])
def test_what_a_level_promises_is_what_the_policy_then_raises(least: float) -> None:
    """Compares the number of warnings and how many of them are right, without newcomers."""
    promised = point(found().history(60.0), least)
    tried = DryRunResult()
    policy = read({"budget": {"expected_value_min": least},
                   "signs": {"complaint_open": {"enabled": False}}})  # fmt: skip
    counted = {customer: each for customer, each in HISTORIES.items() if customer != "new"}
    try_customers(tried, policy, counted, BOUGHT, PROFILES, day(60))
    assert (tried.raised + tried.joined, tried.precision) == (promised.warnings, promised.precision)


def test_a_tuned_policy_notes_how_it_was_found() -> None:
    history = found().history(60.0)
    after = tuned(history, Policy(), 3.0, per_100=25.0, per_owner=None, at=day(60))
    budget = after.budget
    assert budget.expected_value_min == 50.0
    assert point(history, 50.0).warnings == 3
    assert (budget.warnings_per_100, budget.found_at, budget.days) == (25.0, day(60), 60)
    assert budget.expected == point(history, 50.0)
    assert budget.curve == curve(history)
    assert read(plain(after)) == after
    free = tuned(history, Policy(), 4.0, per_100=40.0, per_owner=None, at=day(60))
    assert free.budget.expected_value_min is None


def test_warnings_per_100_customers_and_month() -> None:
    assert BudgetHistory([], [], customers=250, days=60.0).warnings_for(12) == 60.0


@pytest.mark.parametrize(
    ("changes", "bought", "right"),
    [
        ({}, [], True),
        ({}, [10.0], False),
        ({}, [10.1, 0.0, -1.0], True),
        ({"days_silent": 30.0}, [], None),
        ({"lapse": None}, [], None),
        ({"days_silent": None}, [], None),
    ],
)
def test_a_warning_is_right_when_nothing_is_bought_in_the_rest_of_the_lapse_length(
    changes: dict[str, Any], bought: list[float], right: bool | None
) -> None:
    """After 20 of 30 days of silence ten are left, whatever the horizon."""
    message = assessed(1, 0, **changes)
    assert judged(message, [day(at) for at in bought], day(10)) is right
    assert judged(assessed(1, 0), [], day(9.9)) is None
