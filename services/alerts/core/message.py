"""A task as it is told: the body of a webhook, and the line on the treatment topic.

What it is for: the shape that receivers depend on. Thin-plus: what an owner needs to act;
behavioural detail stays behind the API.
"""

from datetime import datetime, timedelta
from typing import Literal

import msgspec

from services.alerts.core.policy import stable_id
from services.alerts.core.task import Task
from services.alerts.core.wording.catalogue import sentence
from shared.contracts.treatment import TreatmentRecorded

Kind = Literal["retention_task.opened", "retention_task.closed"]


class Person(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """A customer or an owner, by the id of the company's own system."""

    id: str
    name: str | None = None


class Said(msgspec.Struct, kw_only=True, frozen=True):
    """A reason with its sentence."""

    code: str
    text: str


class TaskTold(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """The task as a receiver sees it."""

    id: str
    version: int
    """A receiver that knows a higher one ignores this message."""
    status: str
    cause: str
    customer: Person
    owner: Person | None
    """None: nobody owns this customer."""
    band: str
    probability: float
    """Of no purchase within `horizon_days` after `opened_at`."""
    horizon_days: int
    reasons: list[Said]
    """Most important first."""
    language: str
    """Of the sentences."""
    value_at_risk: float
    currency: str
    opened_at: datetime
    due_at: datetime
    closed_at: datetime | None = None
    close_reason: str | None = None


class Body(msgspec.Struct, kw_only=True, frozen=True):
    """A Standard Webhooks payload."""

    type: Kind
    timestamp: datetime
    """When it happened, business time."""
    data: dict[Literal["task"], TaskTold]


def kind_of(task: Task) -> Kind:
    """What the newest change of the task is called."""
    return "retention_task.opened" if task.status == "open" else "retention_task.closed"


def body(task: Task) -> bytes:
    """The bytes that are signed and sent for the newest change of the task."""
    return msgspec.json.encode(
        Body(
            type=kind_of(task),
            timestamp=task.closed_at or task.opened_at,
            data={"task": told(task)},
        )
    )


def told(task: Task) -> TaskTold:
    """The task as a receiver sees it."""
    owner = None if task.owner_id is None else Person(id=task.owner_id, name=task.owner_name)
    return TaskTold(
        id=task.id,
        version=task.version,
        status=task.status,
        cause=task.cause,
        customer=Person(id=task.customer_id, name=task.customer_name),
        owner=owner,
        band=task.band,
        probability=round(task.probability, 4),
        horizon_days=task.horizon_days,
        reasons=[
            Said(code=r.code, text=sentence(r, task.language, task.currency)) for r in task.reasons
        ],
        language=task.language,
        value_at_risk=round(task.value_at_risk, 2),
        currency=task.currency,
        opened_at=task.opened_at,
        due_at=task.due_at,
        closed_at=task.closed_at,
        close_reason=task.close_reason,
    )


def delivery_id(task: Task, endpoint_id: str) -> str:
    """The `webhook-id` of the task's newest change at an endpoint: the same on every attempt."""
    return "msg_" + stable_id("delivery", task.id, str(task.version), endpoint_id)


def treatment(task: Task) -> TreatmentRecorded:
    """The newest change of the task as scoring and training learn of it."""
    opened = task.status == "open"
    window = timedelta(days=task.horizon_days)
    return TreatmentRecorded(
        customer_id=task.customer_id,
        kind="task_raised" if opened else "task_closed",
        at=task.closed_at or task.opened_at,
        task_id=task.id,
        cause=task.cause,
        detail=None if opened else task.close_reason,
        revision=task.revision if opened else None,
        probability=task.probability if opened else None,
        until=task.opened_at + window if opened else None,
    )


def verdict(task: Task, at: datetime) -> TreatmentRecorded:
    """What the owner said at `at`, business time."""
    return TreatmentRecorded(
        customer_id=task.customer_id,
        kind="verdict",
        at=at,
        task_id=task.id,
        cause=task.cause,
        detail=task.verdict,
    )
