"""The schemas of tasks in the API."""

from datetime import datetime
from typing import Any

import msgspec
from pydantic import BaseModel

from services.alerts.core.playbook import Queue
from services.alerts.core.task import Progress, Status, Task, TaskKind, Waiting
from services.alerts.core.webhook_payload import payload_of
from services.alerts.core.wording.numbers import Language
from shared.contracts.treatment import LeavingCause, Verdict


class PartyView(BaseModel):
    """A customer or an owner."""

    id: str
    name: str | None = None


class ReasonView(BaseModel):
    """A reason, in words and in numbers."""

    code: str
    text: str
    impact: float
    facts: dict[str, float]


class TaskView(BaseModel):
    """A task with everything that is known of it. Times are UTC."""

    id: str
    version: int
    status: Status
    cause: str
    customer: PartyView
    owner: PartyView | None
    band: str
    probability: float
    horizon_days: int
    reasons: list[ReasonView]
    language: str
    value_at_risk: float
    currency: str
    days_silent: float | None
    last_purchase_at: datetime | None
    expected_value: float
    model_version: str
    revision: int
    opened_at: datetime
    due_at: datetime
    created_at: datetime
    closed_at: datetime | None
    close_reason: str | None
    verdict: Verdict | None
    note: str | None
    leaving_cause: LeavingCause | None
    kind: TaskKind
    title: str | None = None
    policy: str
    grade: str | None
    tier: str | None
    lifecycle: str | None
    queue: Queue
    worth: float
    """Expected saved value, by which a queue is ordered."""
    playbook: str = "any"
    channel: str | None = None
    consent_missing: bool = False
    offer: str | None = None
    offer_points: int | None = None
    steps: list[str] = []
    progress: Progress
    snoozed_until: datetime | None
    respond_by: datetime | None
    escalations: int
    escalated_to: str | None
    expires_at: datetime | None
    waiting: Waiting | None
    allocated_at: datetime | None
    causes: list[str] = []
    """All its causes, in the order in which they were raised."""
    suspected_leaving_cause: LeavingCause | None
    """Why the customer of a win-back task has probably left."""
    lapse_probability: float | None = None
    lapse_days: float | None = None


class EventView(BaseModel):
    """An event of a task: `at` in business time, `recorded_at` by the wall clock."""

    at: datetime
    recorded_at: datetime
    actor: str
    kind: str
    detail: dict[str, Any]


class OutcomeView(BaseModel):
    """What the customer did within the horizon, measured from events."""

    until: datetime
    measured_at: datetime | None
    """None: the window has not ended, or late purchases may still come."""
    returned_at: datetime | None
    purchases: int | None
    revenue: float | None


class TaskDetail(TaskView):
    """A task with its history and its outcome."""

    delivered_at: datetime | None
    """When an endpoint first accepted it, wall clock."""
    history: list[EventView]
    outcome: OutcomeView | None


class TaskPage(BaseModel):
    """A page of tasks, in the order of the list or queue."""

    items: list[TaskView]
    next: str | None


def view(task: Task, language: Language | None) -> TaskView:
    """Return the task with sentences in `language`, or in its own."""
    return TaskView.model_validate(fields(task, language))


def fields(task: Task, language: Language | None) -> dict[str, Any]:
    """Return the fields of a `TaskView`."""
    if language is not None:
        task = msgspec.structs.replace(task, language=language)
    shown: dict[str, Any] = msgspec.structs.asdict(task) | msgspec.to_builtins(payload_of(task))
    shown["reasons"] = [
        {**msgspec.structs.asdict(sent), "impact": reason.impact, "facts": reason.facts}
        for sent, reason in zip(payload_of(task).reasons, task.reasons, strict=True)
    ]
    return {"owner": None} | shown
