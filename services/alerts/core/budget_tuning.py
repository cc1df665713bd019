"""Replays stored assessments to find the warnings that a budget chooses among.

It calls the same `decide` as live, without a budget and without a holdout, one customer after
another, and raises no task. Only customers with a rhythm of their own count, with their warnings
and lapses, as on the backtest's page; newcomers are limited by the level, but not counted.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from msgspec.structs import replace

from services.alerts.core.budget import BudgetHistory, CandidateWarning, PastLapse
from services.alerts.core.dry_run import decisions, judged
from services.alerts.core.policy import CustomerState, Joined, Raised
from services.alerts.core.policy_document import Budget, Holdout, Policy
from services.alerts.core.raised_causes import budget_value_of
from services.alerts.core.signs import statistical
from services.alerts.core.task_cause import is_gone
from services.alerts.core.uplift.served import ServedEffects
from shared.contracts.events import Profile
from shared.contracts.risk import RiskAssessed


@dataclass(slots=True)
class TuningResult:
    """The candidates, lapses and counts found so far."""

    candidates: list[CandidateWarning] = field(default_factory=list)
    lapses: list[PastLapse] = field(default_factory=list)
    customers: int = 0
    """Customers with a rhythm of their own who were not gone the whole time."""
    owners: set[str] = field(default_factory=set)
    """Ids of the owners of all customers read."""

    def history(self, days: float) -> BudgetHistory:
        """Return the result as a history of `days` days."""
        return BudgetHistory(self.candidates, self.lapses, self.customers, days)


def find(
    found: TuningResult,
    policy: Policy,
    histories: Mapping[str, Sequence[RiskAssessed]],
    purchases: Mapping[str, Sequence[datetime]],
    profiles: Mapping[str, Profile],
    end: datetime,
    effects: ServedEffects | None = None,
) -> None:
    """Add the warnings and lapses of these customers; the data end at `end`."""
    free = replace(policy, budget=Budget(), holdout=Holdout())
    for customer, messages in histories.items():
        profile = profiles.get(customer, Profile())
        if profile.owner_id is not None:
            found.owners.add(profile.owner_id)
        found.customers += any(own_rhythm(each) and not is_gone(each) for each in messages)
        found.lapses += lapses_of(messages)
        if profile.do_not_contact:
            continue
        bought = purchases.get(customer, ())
        found.candidates += _candidates(customer, messages, free, bought, end, effects)


def _candidates(
    customer: str,
    messages: Sequence[RiskAssessed],
    policy: Policy,
    bought: Sequence[datetime],
    end: datetime,
    effects: ServedEffects | None,
) -> list[CandidateWarning]:
    made: list[CandidateWarning] = []
    for message, decision in decisions(policy, CustomerState(customer), messages, effects):
        if own_rhythm(message):
            right = judged(message, bought, end)
            made += [
                CandidateWarning(customer, value, message.assessed_at, right)
                for step in decision.steps
                if isinstance(step, Raised | Joined) and _within_budget(step)
                for cause in (_causes(step)[0],)
                for value in (budget_value_of(decision.state, message, policy, cause, effects),)
            ]
    return made


def own_rhythm(message: RiskAssessed) -> bool:
    """Return whether the customer has a rhythm of their own."""
    return message.lapse is not None and message.lapse.own_rhythm


def _within_budget(step: Raised | Joined) -> bool:
    """Return whether all causes are statistical, so that a budget may suppress the warning."""
    return all(statistical(cause) for cause in _causes(step))


def _causes(step: Raised | Joined) -> tuple[str, ...]:
    return step.causes if isinstance(step, Joined) else step.task.causes


def lapses_of(messages: Sequence[RiskAssessed]) -> list[PastLapse]:
    """Return the silences that became lapses within the history: seen before and after."""
    seen: set[datetime] = set()
    made: dict[datetime, PastLapse] = {}
    for message in messages:
        begin, lapse = message.last_purchase_at, message.lapse
        if begin is None or lapse is None or not lapse.own_rhythm:
            continue
        if not is_gone(message):
            seen.add(begin)
        elif begin in seen and begin not in made:
            at = begin + timedelta(days=lapse.days)
            made[begin] = PastLapse(message.customer_id, begin, at)
    return list(made.values())
