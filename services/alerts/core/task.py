"""A retention task: what an owner is asked to look at, and why.

What it is for: the task as it is stored and told. Its fields are the columns of its table.
"""

from datetime import datetime
from typing import Literal

import msgspec

from services.alerts.core.due import due_at
from services.alerts.core.policy import Closed, CloseReason, Raised
from services.alerts.core.wording.catalogue import language_of
from services.alerts.core.wording.numbers import Language
from shared.contracts.events import Profile
from shared.contracts.risk import Band, Reason, RiskAssessed
from shared.contracts.treatment import Verdict

Status = Literal["open", "closed"]


class Task(msgspec.Struct, kw_only=True, frozen=True):
    """One retention task. Times are UTC."""

    customer_id: str
    id: str
    cause: str
    """Code of the leading reason."""
    episode: int
    status: Status
    version: int
    """Grows with every change that is told."""
    customer_name: str | None
    owner_id: str | None
    owner_name: str | None
    language: Language
    time_zone: str | None
    band: Band
    probability: float
    horizon_days: int
    reasons: list[Reason]
    days_silent: float | None
    last_purchase_at: datetime | None
    expected_value: float
    value_at_risk: float
    currency: str
    revision: int
    """Of the assessment that raised it."""
    model_version: str
    opened_at: datetime
    """Business time."""
    due_at: datetime
    """Business time."""
    created_at: datetime
    """Wall clock."""
    received_ms: int
    """Unix ms at which the event behind it entered Ebbwatch (0: a timer)."""
    closed_at: datetime | None = None
    """Business time."""
    close_reason: CloseReason | None = None
    verdict: Verdict | None = None
    note: str | None = None


def new_task(
    raised: Raised,
    message: RiskAssessed,
    profile: Profile,
    working_days: int,
    created_at: datetime,
) -> Task:
    """The task that `raised` asks for, due `working_days` after it was opened."""
    owner = profile.owner
    return Task(
        customer_id=message.customer_id,
        id=raised.task.id,
        cause=raised.task.cause,
        episode=raised.episode,
        status="open",
        version=1,
        customer_name=profile.name,
        owner_id=owner.id if owner else None,
        owner_name=owner.name if owner else None,
        language=language_of(profile.language),
        time_zone=profile.time_zone,
        band=message.band,
        probability=message.probability,
        horizon_days=message.horizon_days,
        reasons=message.reasons,
        days_silent=message.days_silent,
        last_purchase_at=message.last_purchase_at,
        expected_value=message.expected_value,
        value_at_risk=message.value_at_risk,
        currency=message.currency,
        revision=message.revision,
        model_version=message.model_version,
        opened_at=raised.task.opened_at,
        due_at=due_at(raised.task.opened_at, working_days),
        created_at=created_at,
        received_ms=message.received_ms,
    )


def close(task: Task, closed: Closed) -> Task:
    """The task once it has ended."""
    return msgspec.structs.replace(
        task,
        status="closed",
        version=task.version + 1,
        closed_at=closed.at,
        close_reason=closed.reason,
    )
