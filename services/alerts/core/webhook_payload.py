"""A task as it is sent: the body of a webhook, and the message on the treatment topic.

Receivers depend on this shape. `full` is what an owner needs to act (the API has more); `thin` is
for receivers that may know only the customer, the urgency and the due date.
"""

from datetime import datetime, timedelta
from typing import Final, Generic, Literal, TypeVar

import msgspec

from services.alerts.core.experiment_subject import ExperimentSubject
from services.alerts.core.ids import stable_id
from services.alerts.core.policy_parts import Both
from services.alerts.core.task import BY_RISK, Task
from services.alerts.core.wording.catalogue import sentence
from services.alerts.delivery.core.endpoint import Payload
from shared.contracts.treatment import TreatmentRecorded

Kind = Literal[
    "retention_task.opened", "retention_task.updated", "retention_task.closed", "endpoint.test",
    "customer_message.send",
]  # fmt: skip
"""`endpoint.test`: a sample that an operator sends; its task exists nowhere."""


class Party(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """A customer or an owner, by the id of the company's own system."""

    id: str
    name: str | None = None


class ReasonText(msgspec.Struct, kw_only=True, frozen=True):
    """A reason with its sentence, in the language of the task."""

    code: str
    text: str


class TaskPayload(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """The task as a receiver sees it."""

    id: str
    version: int
    """A receiver that knows a higher version ignores this message."""
    status: str
    cause: str
    customer: Party
    owner: Party | None
    """None: the customer has no owner."""
    band: str
    probability: float
    """Probability of no purchase within `horizon_days` after `opened_at`, or after the newest cause
    joined."""
    horizon_days: int
    reasons: list[ReasonText]
    """Most important first."""
    language: str
    """Language of the sentences."""
    value_at_risk: float
    currency: str
    opened_at: datetime
    due_at: datetime
    closed_at: datetime | None = None
    close_reason: str | None = None
    kind: str = "retention"
    """`retention`, `win_back`, `care` or `segment`."""
    title: str | None = None
    """Title of a task by the calendar or a segment; None for tasks by risk."""
    grade: str | None = None
    queue: str = "owner"
    """Who acts: the `owner`, a `fast_response` team, `self_service`, or `unowned`."""
    playbook: str = "any"
    channel: str | None = None
    """How to reach the customer, as the grade prefers and consent allows."""
    consent_missing: bool = False
    """The customer consents to no channel of the playbook."""
    offer: str | None = None
    offer_points: int | None = None
    """Loyalty points that may be credited to the customer."""
    steps: list[str] = []
    respond_by: datetime | None = None
    escalated_to: str | None = None
    lapse_probability: float | None = None
    """Probability that the present silence reaches `lapse_days`, by the customer's own rhythm."""
    lapse_days: float | None = None
    """Days of silence after which the customer counts as gone."""
    suspected_leaving_cause: str | None = None
    """Why the customer of a win-back task has probably left."""


class ThinTaskPayload(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """The task without names, reasons and amounts; the rest is read through the API."""

    id: str
    version: int
    status: str
    customer: Party
    owner: Party | None
    band: str
    opened_at: datetime
    due_at: datetime
    closed_at: datetime | None = None
    close_reason: str | None = None


SAMPLE_TASK_ID: Final = "rt_sample"

T = TypeVar("T")


class WebhookPayload(msgspec.Struct, Generic[T], kw_only=True, frozen=True):
    """A Standard Webhooks payload."""

    type: Kind
    timestamp: datetime
    """When it happened, business time."""
    data: dict[Literal["task"], T]


def kind_of(task: Task) -> Kind:
    """Return the message type of the newest change of the task."""
    if task.status == "closed":
        return "retention_task.closed"
    return "retention_task.opened" if task.version == 1 else "retention_task.updated"


def body(task: Task, payload: Payload = "full") -> bytes:
    """Return the bytes that are signed and sent for the newest change of the task."""
    return msgspec.json.encode(
        WebhookPayload[TaskPayload | ThinTaskPayload](
            type=kind_of(task),
            timestamp=task.closed_at or task.changed_at or task.opened_at,
            data={"task": thin(task) if payload == "thin" else payload_of(task)},
        )
    )


def sample(at: datetime) -> bytes:
    """Return a sample message for trying an endpoint out."""
    shown = TaskPayload(
        id=SAMPLE_TASK_ID,
        version=1,
        status="open",
        cause="silence_beyond_rhythm",
        customer=Party(id="sample-customer", name="Sample customer 示例客户"),
        owner=None,
        band="high",
        probability=0.6,
        horizon_days=28,
        reasons=[
            ReasonText(code="silence_beyond_rhythm", text="This is a sample, not a real task")
        ],
        language="en",
        value_at_risk=100.0,
        currency="USD",
        opened_at=at,
        due_at=at + timedelta(days=3),
    )
    return msgspec.json.encode(
        WebhookPayload[TaskPayload](type="endpoint.test", timestamp=at, data={"task": shown})
    )


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)


def thin(task: Task) -> ThinTaskPayload:
    """Return the task as a receiver of `thin` payloads gets it: without names."""
    return ThinTaskPayload(
        id=task.id,
        version=task.version,
        status=task.status,
        customer=Party(id=task.customer_id),
        owner=None if task.owner_id is None else Party(id=task.owner_id),
        band=task.band,
        opened_at=task.opened_at,
        due_at=task.due_at,
        closed_at=task.closed_at,
        close_reason=task.close_reason,
    )


def payload_of(task: Task) -> TaskPayload:
    """Return the task as a receiver of `full` payloads gets it."""
    owner = None if task.owner_id is None else Party(id=task.owner_id, name=task.owner_name)
    return TaskPayload(
        id=task.id,
        version=task.version,
        status=task.status,
        cause=task.cause,
        customer=Party(id=task.customer_id, name=task.customer_name),
        owner=owner,
        band=task.band,
        probability=round(task.probability, 4),
        horizon_days=task.horizon_days,
        reasons=[
            ReasonText(code=r.code, text=sentence(r, task.language, task.currency))
            for r in task.reasons
        ],
        language=task.language,
        value_at_risk=round(task.value_at_risk, 2),
        currency=task.currency,
        opened_at=task.opened_at,
        due_at=task.due_at,
        closed_at=task.closed_at,
        close_reason=task.close_reason,
        kind=task.kind,
        title=_in(task, task.plan.title),
        grade=task.grade,
        queue=task.queue,
        playbook=task.plan.playbook,
        channel=task.plan.channel,
        consent_missing=task.plan.consent_missing,
        offer=_in(task, task.plan.offer),
        offer_points=task.plan.offer_points,
        steps=[step.zh if task.language == "zh-CN" else step.en for step in task.plan.steps],
        respond_by=task.respond_by,
        escalated_to=task.escalated_to,
        lapse_probability=_rounded(task.lapse_probability, 4),
        lapse_days=_rounded(task.lapse_days, 1),
        suspected_leaving_cause=task.suspected_leaving_cause,
    )


def _in(task: Task, text: Both | None) -> str | None:
    """Return a text in the language of the task."""
    if text is None:
        return None
    return text.zh if task.language == "zh-CN" else text.en


def delivery_id(task: Task, endpoint_id: str) -> str:
    """Return the `webhook-id` of the newest change at an endpoint: the same on every attempt."""
    return "msg_" + stable_id("delivery", task.id, str(task.version), endpoint_id)


def treatment(task: Task) -> TreatmentRecorded:
    """Return the treatment message of the newest change, for scoring and training."""
    opened = task.status == "open"
    warned = opened and task.kind in BY_RISK
    window = timedelta(days=task.horizon_days)
    return TreatmentRecorded(
        customer_id=task.customer_id,
        kind="task_raised" if opened else "task_closed",
        at=task.closed_at or task.opened_at,
        task_id=task.id,
        cause=task.cause,
        detail=None if opened else task.close_reason,
        policy=task.policy,
        playbook=task.plan.playbook,
        revision=task.revision if warned else None,
        probability=task.probability if warned else None,
        until=task.opened_at + window if warned else None,
    )


def verdict(task: Task, at: datetime) -> TreatmentRecorded:
    """Return the treatment message of the owner's verdict at `at`, business time."""
    return TreatmentRecorded(
        customer_id=task.customer_id,
        kind="verdict",
        at=at,
        task_id=task.id,
        cause=task.cause,
        detail=task.verdict,
        policy=task.policy,
        playbook=task.plan.playbook,
        leaving_cause=task.leaving_cause,
    )


def held_out(trial: ExperimentSubject) -> TreatmentRecorded:
    """Return the treatment message of a held-out customer, for scoring and training."""
    return TreatmentRecorded(
        customer_id=trial.customer_id,
        kind="held_out",
        at=trial.at,
        task_id=trial.id,
        cause=trial.cause,
        policy=f"{trial.policy}@{trial.policy_version}",
        playbook=trial.playbook,
        revision=trial.revision,
        probability=trial.probability,
        until=trial.until,
    )
