"""Walks assessments as they came, and finds the warnings among which a budget chooses.

What it is for: the same `decide` as live, without a budget, one customer after another. It holds
nobody out and raises nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from msgspec.structs import replace

from services.alerts.core.budget import Candidate, Chance, History, Lapse
from services.alerts.core.causes import is_gone
from services.alerts.core.conditions import passes, worth_winning_back
from services.alerts.core.document import Budget, Holdout, Policy
from services.alerts.core.dry_run import expired, judged
from services.alerts.core.policy import CustomerState, Joined, Raised, decide
from services.alerts.core.signs import about_silence, statistical
from shared.contracts.events import Profile
from shared.contracts.risk import RiskAssessed


@dataclass(slots=True)
class _Episode:
    """A warning, and what it could have been later on."""

    customer_id: str
    causes: tuple[str, ...]
    chances: list[Chance]

    def go_on(self, message: RiskAssessed, policy: Policy, chance: Chance) -> None:
        """Add a later chance where the same would still be warned of, and is worth more."""
        if chance.value_at_risk > self.chances[-1].value_at_risk and self._holds(message, policy):
            self.chances.append(chance)

    def _holds(self, message: RiskAssessed, policy: Policy) -> bool:
        if is_gone(message):
            silence = any(about_silence(cause) for cause in self.causes)
            return silence and worth_winning_back(message, policy)
        return any(s.code in self.causes and passes(s, message, policy) for s in message.signs)


@dataclass(slots=True)
class Found:
    """What was found so far, customer by customer."""

    candidates: list[Candidate] = field(default_factory=list)
    lapses: list[Lapse] = field(default_factory=list)
    customers: int = 0
    owners: set[str] = field(default_factory=set)
    """Who owns one of these customers."""

    def history(self, days: float) -> History:
        """All of it, over so many days."""
        return History(self.candidates, self.lapses, self.customers, days)


def find(
    found: Found,
    policy: Policy,
    histories: Mapping[str, Sequence[RiskAssessed]],
    purchases: Mapping[str, Sequence[datetime]],
    profiles: Mapping[str, Profile],
    end: datetime,
) -> None:
    """Add the warnings and lapses of these customers; `end`: of what is known."""
    free = replace(policy, budget=Budget(), holdout=Holdout())
    for customer, messages in histories.items():
        profile = profiles.get(customer, Profile())
        if profile.owner is not None:
            found.owners.add(profile.owner.id)
        found.customers += any(not is_gone(message) for message in messages)
        found.lapses += _lapses(messages)
        if profile.do_not_contact:
            continue
        bought = purchases.get(customer, ())
        found.candidates += _candidates(customer, messages, free, bought, end)


def _candidates(
    customer: str,
    messages: Sequence[RiskAssessed],
    policy: Policy,
    bought: Sequence[datetime],
    end: datetime,
) -> list[Candidate]:
    state = CustomerState(customer)
    live: list[_Episode] = []
    made: list[_Episode] = []
    for message in messages:
        decision = decide(state, message, policy)
        state = decision.state
        right = judged(message, bought, end)
        chance = Chance(message.value_at_risk, message.assessed_at, right)
        live = [e for e in live if not _over(e, state)]
        for episode in live:
            episode.go_on(message, policy, chance)
        for step in decision.steps:
            if isinstance(step, Raised | Joined):
                new = step.causes if isinstance(step, Joined) else step.task.causes
                if all(statistical(cause) for cause in new):
                    live.append(_Episode(customer, new, [chance]))
                    made.append(live[-1])
        if policy.expire_days is not None:
            state = expired(state, message.assessed_at, policy.expire_days)
    return [Candidate(each.customer_id, tuple(each.chances)) for each in made]


def _over(episode: _Episode, state: CustomerState) -> bool:
    """Whether all that the warning spoke of may be warned of again: it is another one then."""
    known = [state.of(cause) for cause in episode.causes]
    return all(each is None or each.armed for each in known)


def _lapses(messages: Sequence[RiskAssessed]) -> list[Lapse]:
    """The silences that became complete while we looked: those that were seen before, too."""
    seen: set[datetime] = set()
    made: dict[datetime, Lapse] = {}
    for message in messages:
        begin, lapse = message.last_purchase_at, message.lapse
        if begin is None or lapse is None:
            continue
        if not is_gone(message):
            seen.add(begin)
        elif begin in seen and begin not in made:
            at = begin + timedelta(days=lapse.days)
            made[begin] = Lapse(message.customer_id, begin, at)
    return list(made.values())
