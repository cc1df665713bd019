"""Tries a policy on history: the tasks it would have raised, and how many would be right.

It calls the same `decide` as live on stored assessments, one customer after another, and raises no
task. Purchases that followed a real task count like any other, so the precision of a policy that
has been in force looks lower than it would have been without tasks.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

from msgspec.structs import replace

from services.alerts.core.intervals import Interval, wilson
from services.alerts.core.playbook import choose, queue_of
from services.alerts.core.policy import CustomerState, Decision, HeldOutTask, Joined, Raised, decide
from services.alerts.core.policy_document import Policy
from services.alerts.core.uplift.served import ServedEffects
from shared.contracts.events import Profile
from shared.contracts.risk import RiskAssessed

CUSTOMERS_SHOWN: int = 50
"""Customers named in the result: those with most value at risk."""


class AtRisk(NamedTuple):
    """A task that would have been raised."""

    value_at_risk: float
    customer_id: str
    at: datetime
    """When the customer was assessed."""
    cause: str


@dataclass(slots=True)
class DryRunResult:
    """What a policy would have done."""

    customers: int = 0
    assessments: int = 0
    raised: int = 0
    joined: int = 0
    """Causes that joined an open task."""
    held_out: int = 0
    why: Counter[str] = field(default_factory=Counter)
    """Assessments by the row of the decision table that applied."""
    by_band: Counter[str] = field(default_factory=Counter)
    by_cause: Counter[str] = field(default_factory=Counter)
    """Tasks raised, and causes that joined one."""
    by_grade: Counter[str] = field(default_factory=Counter)
    by_playbook: Counter[str] = field(default_factory=Counter)
    by_queue: Counter[str] = field(default_factory=Counter)
    judged: int = 0
    """Tasks that can be judged: the rest of the customer's lapse length is over."""
    right: int = 0
    """Judged tasks of customers who bought nothing in that rest."""
    most_at_risk: list[AtRisk] = field(default_factory=list)
    """Most valuable first."""

    @property
    def precision(self) -> float | None:
        """Share of the judged tasks that were right."""
        return self.right / self.judged if self.judged else None

    @property
    def precision_interval(self) -> Interval:
        """Interval of the precision (Wilson, 95 %)."""
        return wilson(self.right, self.judged)

    @property
    def precision_low(self) -> float:
        """Low end of the interval."""
        return self.precision_interval.low

    @property
    def precision_high(self) -> float:
        """High end of the interval."""
        return self.precision_interval.high


def try_customers(
    tried: DryRunResult,
    policy: Policy,
    histories: Mapping[str, Sequence[RiskAssessed]],
    purchases: Mapping[str, Sequence[datetime]],
    profiles: Mapping[str, Profile],
    end: datetime,
    effects: ServedEffects | None = None,
) -> None:
    """Add what the policy would have done about these customers; the data end at `end`."""
    for customer, history in histories.items():
        tried.customers += 1
        profile = profiles.get(customer, Profile())
        state = CustomerState(
            customer, do_not_contact_at=history[0].assessed_at if profile.do_not_contact else None
        )
        for message, decision in decisions(policy, state, history, effects):
            tried.assessments += 1
            tried.why[decision.why] += 1
            for step in decision.steps:
                if isinstance(step, Raised):
                    _count(tried, step, message, policy, profile)
                    right = judged(message, purchases.get(customer, ()), end)
                    tried.judged += right is not None
                    tried.right += right is True
                if isinstance(step, Joined):
                    tried.joined += len(step.causes)
                    tried.by_cause.update(step.causes)
                tried.held_out += isinstance(step, HeldOutTask)
    tried.most_at_risk = sorted(tried.most_at_risk, reverse=True)[:CUSTOMERS_SHOWN]


def decisions(
    policy: Policy,
    state: CustomerState,
    history: Iterable[RiskAssessed],
    effects: ServedEffects | None = None,
) -> Iterator[tuple[RiskAssessed, Decision]]:
    """Yield the decision on each assessment of one customer, in order; tasks expire."""
    for message in history:
        decision = decide(state, message, policy, effects)
        yield message, decision
        state = decision.state
        if policy.expire_days is not None:
            state = expired(state, message.assessed_at, policy.expire_days)


def _count(
    tried: DryRunResult, step: Raised, message: RiskAssessed, policy: Policy, profile: Profile
) -> None:
    playbook = choose(policy, message.standing, step.task.cause, step.leaving)
    grade = message.standing.grade if message.standing else None
    tried.raised += 1
    tried.by_band[message.band] += 1
    tried.by_cause[step.task.cause] += 1
    tried.by_grade[grade or "(none)"] += 1
    tried.by_playbook[playbook.id] += 1
    tried.by_queue[queue_of(playbook.service, profile.owner_id)] += 1
    tried.most_at_risk.append(
        AtRisk(message.value_at_risk, message.customer_id, message.assessed_at, step.task.cause)
    )


def judged(message: RiskAssessed, bought: Sequence[datetime], end: datetime) -> bool | None:
    """Return whether a warning on this assessment was right.

    It was if the customer bought nothing in the rest of the lapse length. None: no lapse or silence
    is known, the rest is not over at `end`, or the lapse was complete already.
    """
    if message.lapse is None or message.days_silent is None:
        return None
    rest = message.lapse.days - message.days_silent
    if not 0 < rest <= (end - message.assessed_at) / timedelta(days=1):
        return None
    until = message.assessed_at + timedelta(days=rest)
    return not any(message.assessed_at < at <= until for at in bought)


def expired(state: CustomerState, now: datetime, days: int) -> CustomerState:
    """Return the customer without the tasks that have been open for `days` days."""
    since = now - timedelta(days=days)
    kept = tuple(task for task in state.open if task.opened_at > since)
    return state if len(kept) == len(state.open) else replace(state, open=kept)
