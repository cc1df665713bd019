"""One subject of the comparison: a customer who was warned about, treated or held out.

It holds what is known at the time of the draw, and what the customer did within the horizon. Both
arms are measured alike, from purchases; no outcome is entered by hand.
"""

from datetime import datetime, timedelta
from typing import Literal

import msgspec

from services.alerts.core.holdout import eligible
from services.alerts.core.playbook import choose
from services.alerts.core.policy import HeldOutTask, Raised
from services.alerts.core.task import TaskInputs
from shared.contracts.events import Profile
from shared.contracts.risk import RiskAssessed

Arm = Literal["treated", "held_out"]


class ExperimentSubject(msgspec.Struct, kw_only=True, frozen=True):
    """A warned customer. Times are business time, UTC; money is the reporting currency."""

    customer_id: str
    id: str
    """Id of the task, or the id that it would have had."""
    policy: str
    """Name of the policy: the holdout is drawn per policy."""
    policy_version: int
    arm: Arm
    eligible: bool
    """Whether the draw could have held the customer out; only those are compared."""
    at: datetime
    until: datetime
    """End of the window in which the outcome is measured."""
    cause: str
    playbook: str
    owner_id: str | None
    grade: str | None
    segments: list[str]
    revision: int
    """Revision of the assessment that led to the warning."""
    probability: float
    value_at_risk: float
    returned_at: datetime | None = None
    """First purchase within the window."""
    purchases: int | None = None
    revenue: float | None = None
    """Purchases minus refunds within the window."""
    measured_at: datetime | None = None
    """When the complete window was measured; None: not yet."""
    propensity: float | None = None
    """Probability of being treated at the draw; None for trials from before it was kept."""
    feature_version: int | None = None
    features: list[float | None] | None = None
    """The feature row of the assessment (`shared/contracts/feature_row.py`); None without one."""


def new_trial(
    step: Raised | HeldOutTask, message: RiskAssessed, profile: Profile, inputs: TaskInputs
) -> ExperimentSubject:
    """Return the subject of a raised or held-out task, before anything is measured."""
    classification, row = message.standing, message.feature_row
    return ExperimentSubject(
        customer_id=message.customer_id,
        id=step.task.id,
        policy=inputs.policy.name,
        policy_version=inputs.version,
        arm="treated" if isinstance(step, Raised) else "held_out",
        eligible=eligible(message, inputs.policy),
        at=message.assessed_at,
        # The horizon and not the rest of the lapse length: training excludes or weights the
        # label of the same window, and both arms of a comparison need one length.
        until=message.assessed_at + timedelta(days=message.horizon_days),
        cause=step.task.cause,
        playbook=choose(inputs.policy, classification, step.task.cause, step.leaving).id,
        owner_id=profile.owner_id,
        grade=None if classification is None else classification.grade,
        segments=[] if classification is None else classification.segments,
        revision=message.revision,
        probability=message.probability,
        value_at_risk=message.value_at_risk,
        propensity=1 - inputs.policy.holdout.share,
        feature_version=None if row is None else row.version,
        features=None if row is None else row.values,
    )
