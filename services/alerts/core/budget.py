"""Finds the budget level: the least expected value that leaves a wanted number of warnings.

Input are the warnings that history would have brought without a budget. Results are the level and
a curve of what each level costs and catches. It reads no history (`budget_tuning` does) and stores
no policy. All customers here have a rhythm of their own.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from msgspec.structs import replace

from services.alerts.core.policy_document import Budget, BudgetPoint, Policy
from shared.kernel.grouping import grouped

MONTH_DAYS: Final = 30.0
"""Length of the month in "warnings per 100 customers and month"."""
SHARES: Final = (1.0, 0.8, 0.6, 0.5, 0.4, 0.3, 0.2, 0.15, 0.1, 0.05)
"""Shares of the warnings without a budget for which the curve is shown."""


@dataclass(frozen=True, slots=True)
class CandidateWarning:
    """A warning that would be given without a budget."""

    customer_id: str
    value: float
    """Value by which the budget ranks the customer at the warning, reporting currency: the expected
    value, weighted by the effect on the customer once such effects serve."""
    at: datetime
    right: bool | None
    """Whether the customer bought nothing in the rest of the lapse length; None: that time is not
    over yet, or there was no rest."""


@dataclass(frozen=True, slots=True)
class PastLapse:
    """A silence that reached the customer's lapse length."""

    customer_id: str
    begin: datetime
    """The last purchase before it."""
    at: datetime
    """When it was complete."""


@dataclass(frozen=True, slots=True)
class BudgetHistory:
    """The data that the level is found on: of customers with a rhythm of their own."""

    candidates: Sequence[CandidateWarning]
    lapses: Sequence[PastLapse]
    customers: int
    """Customers, without those who were gone the whole time."""
    days: float

    def warnings_for(self, per_100: float) -> float:
        """Convert `per_100` warnings per 100 customers and month to a number of warnings."""
        return per_100 * self.customers / 100 * self.days / MONTH_DAYS


def level(candidates: Iterable[CandidateWarning], most: float) -> float:
    """Return the smallest expected value that leaves at most `most` warnings; 0: all stay.

    >>> from datetime import UTC
    >>> at = datetime(2026, 1, 1, tzinfo=UTC)
    >>> three = [CandidateWarning("c", value, at, None) for value in (5.0, 20.0, 10.0)]
    >>> level(three, 3), level(three, 2), level(three, 0.5)
    (0.0, 10.0, 20.000000000000004)

    Where no amounts are known, all values are 0: they cannot rank customers, so all warnings stay.
    """
    worth = sorted((each.value for each in candidates), reverse=True)
    room = max(math.floor(most), 0)
    if len(worth) <= room or worth[0] == 0.0:
        return 0.0
    above = [value for value in worth if value > worth[room]]
    return above[-1] if above else math.nextafter(worth[room], math.inf)


def tuned(
    history: BudgetHistory,
    policy: Policy,
    target: float,
    *,
    per_100: float | None,
    per_owner: float | None,
    at: datetime,
) -> Policy:
    """Return the policy with the level that leaves `target` warnings, and how it was found.

    `at`: business time, UTC. Where history has no more warnings than wanted, the least expected
    value is None: nothing is suppressed.
    """
    least = level(history.candidates, target)
    budget = Budget(
        expected_value_min=least or None,
        warnings_per_100=per_100,
        per_owner_per_day=per_owner,
        found_at=at,
        days=round(history.days),
        expected=point(history, least),
        curve=curve(history),
    )
    return replace(policy, budget=budget)


def point(history: BudgetHistory, least: float) -> BudgetPoint:
    """Return the results of a least expected value on a history."""
    warned = [each for each in history.candidates if each.value >= least]
    judged = [each.right for each in warned if each.right is not None]
    all_of_it = sum(each.value for each in history.candidates)
    kept = sum(each.value for each in warned)
    size = history.customers * history.days / MONTH_DAYS
    return BudgetPoint(
        expected_value_min=least,
        warnings=len(warned),
        warnings_per_100=100 * len(warned) / size if size else 0.0,
        precision=sum(judged) / len(judged) if judged else None,
        recall=_recall(history.lapses, warned),
        value_kept=kept / all_of_it if all_of_it else None,
    )


def curve(history: BudgetHistory) -> list[BudgetPoint]:
    """Return the points of falling numbers of warnings, the most first, each level once."""
    natural = len(history.candidates)
    levels = [level(history.candidates, natural * share) for share in SHARES]
    return [point(history, least) for least in dict.fromkeys(levels)]


def _recall(lapses: Sequence[PastLapse], warned: Iterable[CandidateWarning]) -> float | None:
    """Return the share of the lapses with a warning before they were complete."""
    if not lapses:
        return None
    times = grouped((each.customer_id, each.at) for each in warned)
    met = sum(
        any(lapse.begin < at < lapse.at for at in times.get(lapse.customer_id, ()))
        for lapse in lapses
    )
    return met / len(lapses)
