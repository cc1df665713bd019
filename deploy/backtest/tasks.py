"""Alerts in memory: its own decisions about the assessments of a walk, customer by customer.

It simulates which tasks a policy would have raised, joined and closed. No owner works on them: they
end by purchases, or by their age where the policy allows it. Nothing is raised in reality.
"""

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from msgspec.structs import replace

from services.alerts.core.policy import (
    Closed,
    CustomerState,
    HeldOutTask,
    Joined,
    OpenTask,
    Policy,
    Raised,
    Step,
    decide,
    purchased,
)
from services.alerts.core.signs import CHURNED
from shared.contracts.risk import DECODER, Band, Grade, RiskAssessed

Kind = Literal["raised", "joined", "held_out"]
"""How a cause was handled: with a new task, with an open one, or held out."""


@dataclass(frozen=True, slots=True)
class SimulatedWarning:
    """One cause of which a customer was warned; a task with several causes is several of these.

    Times are business time, UTC; money is the reporting currency.
    """

    customer_id: str
    at: datetime
    cause: str
    probability: float
    """Probability of the lapse; where none is measured, of no purchase within the horizon."""
    value_at_risk: float
    expected_value: float
    """Value within the horizon had the customer stayed; budgets are based on it."""
    band: Band
    grade: Grade | None
    kind: Kind
    facts: dict[str, float]
    """Numbers for the cause's sentence."""
    last_purchase_at: datetime | None
    lapse_days: float | None
    """None: no silence is measured."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A task that ended."""

    customer_id: str
    opened_at: datetime
    at: datetime
    cause: str
    reason: str


class SimulatedTasks:
    """Alerts' state of the customers, and all its decisions."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._states: dict[str, CustomerState] = {}
        self.warned: list[SimulatedWarning] = []
        self.ended: list[Ended] = []
        self.why: Counter[str] = Counter()
        """Assessments by the row of the decision table that applied."""
        self.open: dict[str, RiskAssessed] = {}
        """Customers with an open task, and the newest assessment of each."""

    def bought(self, customer: str, at: float) -> None:
        """Apply a live purchase, Unix seconds UTC."""
        state = self._states.get(customer)
        if state is None:
            return
        moment = datetime.fromtimestamp(at, UTC)
        state, ended = purchased(self._aged(state, moment), moment)
        self._put(state, None, ended)

    def assessed(self, encoded: bytes) -> None:
        """Apply a risk message."""
        message = DECODER.decode(encoded)
        customer = message.customer_id
        state = self._states.get(customer) or CustomerState(customer)
        decision = decide(self._aged(state, message.assessed_at), message, self._policy)
        self.why[decision.why] += 1
        self._put(decision.state, message, decision.steps)

    def _put(
        self, state: CustomerState, message: RiskAssessed | None, steps: tuple[Step, ...]
    ) -> None:
        customer = state.customer_id
        self._states[customer] = state
        for step in steps:
            if isinstance(step, Closed):
                self._end(customer, step.task, step.at, step.reason)
            elif message is not None:
                self.warned += _warned(step, message)
        if not state.open:
            self.open.pop(customer, None)
        elif message is not None:
            self.open[customer] = message

    def _aged(self, state: CustomerState, now: datetime) -> CustomerState:
        """Return the state without the tasks that have ended by their age."""
        if self._policy.expire_days is None or not state.open:
            return state
        age = timedelta(days=self._policy.expire_days)
        for task in state.open:
            if task.opened_at + age <= now:
                self._end(state.customer_id, task, task.opened_at + age, "expired")
        return replace(state, open=tuple(t for t in state.open if t.opened_at + age > now))

    def _end(self, customer: str, task: OpenTask, at: datetime, reason: str) -> None:
        self.ended.append(Ended(customer, task.opened_at, at, task.cause, reason))


def _warned(step: Raised | Joined | HeldOutTask, message: RiskAssessed) -> list[SimulatedWarning]:
    kind: Kind = "raised"
    if not isinstance(step, Raised):
        kind = "joined" if isinstance(step, Joined) else "held_out"
    lapse, standing = message.lapse, message.standing
    facts = facts_of(message)
    return [
        SimulatedWarning(
            customer_id=message.customer_id,
            at=message.assessed_at,
            cause=cause,
            probability=message.probability if lapse is None else lapse.probability,
            value_at_risk=message.value_at_risk,
            expected_value=message.expected_value,
            band=message.band,
            grade=None if standing is None else standing.grade,
            kind=kind,
            facts=facts.get(cause, {}),
            last_purchase_at=message.last_purchase_at,
            lapse_days=None if lapse is None else lapse.days,
        )
        for cause in (step.causes if isinstance(step, Joined) else step.task.causes)
    ]


def facts_of(message: RiskAssessed) -> dict[str, dict[str, float]]:
    """Maps each cause to its sentence's numbers; for customers who left, those of the silence."""
    gone = {"days_silent": message.days_silent, "usual_gap_days": message.usual_gap_days}
    known = {name: value for name, value in gone.items() if value is not None}
    found = {reason.code: reason.facts for reason in message.reasons}
    return found | {CHURNED: known} | {sign.code: sign.facts for sign in message.signs}
