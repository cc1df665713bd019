"""Sample values for the tests of alerts."""

from datetime import UTC, datetime, timedelta
from typing import Any

from services.alerts.core.consent import Wishes
from services.alerts.core.policy import CustomerState, Decision, Policy, Raised, decide
from services.alerts.core.policy_document import TRAITS
from services.alerts.core.task import Task, TaskInputs, new_task
from shared.contracts.events import Owner, Profile
from shared.contracts.risk import Lapse, Reason, RiskAssessed, Sign

DAY_0 = datetime(2017, 10, 2, 9, tzinfo=UTC)
"""A Monday."""

SILENT = Reason(
    code="silence_beyond_rhythm",
    impact=1.2,
    facts={"usual_gap_days": 9.0, "days_silent": 20.0, "longest_gap_days": 25.0},
)


def day(number: float) -> datetime:
    """Return the time `number` days after day 0."""
    return DAY_0 + timedelta(days=number)


LAPSE = Lapse(days=30.0, probability=0.6, usual_gap_days=9.0, own_rhythm=True)


def sign(code: str, strength: float = 0.9, **facts: float) -> Sign:
    """Return a sign that holds."""
    return Sign(code=code, strength=strength, facts=facts)


def assessed(revision: int, at: float, band: str = "high", **changes: Any) -> RiskAssessed:
    """Return an assessment of an active customer on day `at`.

    Where `signs` are not given, high and critical risk have one for each change among the reasons,
    and a lower band has none.
    """
    values: dict[str, Any] = {
        "customer_id": "c-1",
        "revision": revision,
        "assessed_at": day(at),
        "probability": 0.6,
        "horizon_days": 28,
        "band": band,
        "method": "rule",
        "model_version": "rule-1",
        "feature_set": 1,
        "reasons": [SILENT],
        "purchases": 12,
        "last_purchase_at": day(-20),
        "days_silent": 20.0,
        "usual_gap_days": 9.0,
        "expected_value": 100.0,
        "value_at_risk": 60.0,
        "currency": "USD",
        "received_ms": 1,
        "lapse": LAPSE,
    } | changes
    if "signs" not in values:
        values["signs"] = [
            Sign(code=r.code, strength=0.6, facts=r.facts)
            for r in values["reasons"]
            if band in {"high", "critical"} and r.code not in TRAITS
        ]
    return RiskAssessed(**values)


POLICY = Policy()


def play(state: CustomerState, *messages: RiskAssessed, policy: Policy = POLICY) -> list[Decision]:
    """Decide one message after the other."""
    decisions = []
    for message in messages:
        decisions.append(decide(state, message, policy))
        state = decisions[-1].state
    return decisions


def words(decisions: list[Decision]) -> list[str]:
    """Return the name of the row that applied to each decision."""
    return [d.why for d in decisions]


def raised_task(profile: Profile | None = None, **changes: Any) -> Task:
    """Return the task that a first assessment on day 0 raises."""
    message = assessed(1, 0, **changes)
    decision = decide(CustomerState(message.customer_id), message, Policy())
    step = decision.steps[0]
    assert isinstance(step, Raised)
    profile = profile or Profile(owner=Owner(id="o-1", name="Ann"))
    return new_task(step, message, Wishes(profile), TaskInputs(Policy(), 0, day(0)))
