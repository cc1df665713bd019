"""A retention task: what an owner is asked to do, and why.

It is stored and sent in this form. Its fields are the columns of its table.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Literal

import msgspec

from services.alerts.core.business_hours import WorkingCalendar
from services.alerts.core.consent import Wishes
from services.alerts.core.owner import OwnerRecord
from services.alerts.core.playbook import (
    Plan,
    Queue,
    choose,
    grade_rank,
    named,
    plan,
    queue_of,
    reconsidered,
)
from services.alerts.core.policy import Closed, CloseReason, Joined, Raised
from services.alerts.core.policy_document import Policy
from services.alerts.core.signs import CHURNED, POLICY_RULE
from services.alerts.core.task_cause import reasons_of
from services.alerts.core.uplift.served import ServedEffects, worth
from services.alerts.core.wording.catalogue import language_of
from services.alerts.core.wording.numbers import Language
from shared.contracts.risk import Band, Grade, Lifecycle, Reason, RiskAssessed, Tier
from shared.contracts.treatment import LeavingCause, Verdict
from shared.kernel.zones import zone

Status = Literal["open", "closed"]
Progress = Literal["new", "acknowledged", "in_progress"]
"""How far an owner has come with an open task."""
TaskKind = Literal["retention", "win_back", "care", "segment"]
HELPED: Final = "responds"
HELPED_BY_CALL: Final = "responds_to_call"
"""Codes of the reason that customers like this come back more often with a task than without."""
BY_RISK: Final[frozenset[TaskKind]] = frozenset({"retention", "win_back"})
"""Kinds of tasks that an assessment raises."""
Waiting = Literal["quiet", "capacity"]
"""Why an open task is not sent yet: `quiet`: the owner may not be disturbed now; `capacity`: the
owner's day is full."""


class Task(msgspec.Struct, kw_only=True, frozen=True):
    """One retention task. Times are UTC."""

    customer_id: str
    id: str
    cause: str
    """Code of the leading reason; it stays the same when other causes join."""
    episode: int
    status: Status
    version: int
    """Grows with every change that is sent to endpoints."""
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
    """Revision of the assessment that raised it."""
    model_version: str
    opened_at: datetime
    """Business time."""
    due_at: datetime
    """Business time."""
    created_at: datetime
    """Wall clock."""
    received_ms: int
    """Unix ms at which the event behind it entered Ebbwatch; 0: raised by a timer."""
    closed_at: datetime | None = None
    """Business time."""
    close_reason: CloseReason | None = None
    verdict: Verdict | None = None
    note: str | None = None
    leaving_cause: LeavingCause | None = None
    """Why the customer leaves, from the owner's verdict."""
    kind: TaskKind = "retention"
    plan: Plan = Plan(playbook="any")
    policy: str = "default@0"
    """Name and version of the policy that raised it."""
    grade: Grade | None = None
    tier: Tier | None = None
    lifecycle: Lifecycle | None = None
    queue: Queue = "owner"
    grade_rank: int = 2
    worth: float = 0.0
    """Expected saved value (`core/uplift/served.worth`), reporting currency. Orders a queue."""
    progress: Progress = "new"
    snoozed_until: datetime | None = None
    """Business time; out of the queue until then."""
    respond_by: datetime | None = None
    """Business time by which an owner must have taken it on; None: no target."""
    escalations: int = 0
    """1: escalated to the manager. 2: reassigned, or left unanswered for lack of another owner."""
    escalated_to: str | None = None
    expires_at: datetime | None = None
    waiting: Waiting | None = None
    tell_at: datetime | None = None
    """Business time until which it waits for the end of quiet hours."""
    allocated_at: datetime | None = None
    """Business time at which it became its owner's work; None while it waits for capacity."""
    changed_at: datetime | None = None
    """Business time of the newest sent change after the first; None: none yet."""
    causes: list[str] = []
    """All its causes, in the order in which they were raised; `policy_rule` for a rule's task
    without a sign, whatever its leading reason."""
    suspected_leaving_cause: LeavingCause | None = None
    """Why the customer of a win-back task has probably left, from an earlier verdict or from the
    customer's statements (`leaving_cause` is what this task's owner finds out)."""
    lapse_probability: float | None = None
    """Probability that the silence reaches `lapse_days`; None where no lapse is measured."""
    lapse_days: float | None = None
    """Lapse length of the customer: from then on they count as gone."""


@dataclass(frozen=True, slots=True)
class TaskInputs:
    """The data that tasks are made from, beside the assessment and the profile."""

    policy: Policy
    version: int
    created_at: datetime
    """Wall clock."""
    owners: Mapping[str, OwnerRecord] = field(default_factory=dict)
    save_rates: Mapping[str, float] = field(default_factory=dict)
    """Measured save rates by playbook; other playbooks use the assumed one."""
    effects: ServedEffects | None = None
    """What the playbooks do for a customer, as far as it was measured."""

    @property
    def label(self) -> str:
        """Name and version of the policy."""
        return f"{self.policy.name}@{self.version}"

    def calendar(self, owner_id: str | None) -> WorkingCalendar:
        """Return the working calendar of an owner; of the policy where none is known."""
        record = None if owner_id is None else self.owners.get(owner_id)
        own = None if record is None else record.time_zone
        return WorkingCalendar(self.policy.hours, zone(own or self.policy.hours.time_zone))


def new_task(raised: Raised, message: RiskAssessed, wishes: Wishes, inputs: TaskInputs) -> Task:
    """Return the new task of the step `raised`, by the profile and the wishes of the customer."""
    policy, cause, opened_at = inputs.policy, raised.task.cause, raised.task.opened_at
    playbook = choose(policy, message.standing, cause, raised.leaving)
    profile, owner = wishes.profile, wishes.profile.owner
    queue = queue_of(playbook.service, profile.owner_id)
    calendar = inputs.calendar(profile.owner_id if queue == "owner" else None)
    days = playbook.due_working_days
    waiting, tell_at = _waits(profile.owner_id, queue, opened_at, inputs)
    planned = plan(playbook, policy, wishes)
    expires, target = policy.expire_days, playbook.response_hours
    classification, lapse = message.standing, message.lapse
    return Task(
        customer_id=message.customer_id,
        id=raised.task.id,
        cause=cause,
        episode=raised.episode,
        status="open",
        version=1,
        customer_name=profile.name,
        owner_id=profile.owner_id,
        owner_name=owner.name if owner else None,
        language=language_of(profile.language),
        time_zone=profile.time_zone,
        band=message.band,
        probability=message.probability,
        horizon_days=message.horizon_days,
        reasons=_reasons(message, cause, raised.task.causes, planned, inputs),
        days_silent=message.days_silent,
        last_purchase_at=message.last_purchase_at,
        expected_value=message.expected_value,
        value_at_risk=message.value_at_risk,
        currency=message.currency,
        revision=message.revision,
        model_version=message.model_version,
        opened_at=opened_at,
        due_at=calendar.due_at(
            opened_at, policy.working_days(message.band) if days is None else days
        ),
        created_at=inputs.created_at,
        received_ms=message.received_ms,
        kind="win_back" if cause == CHURNED else "retention",
        plan=planned,
        policy=inputs.label,
        grade=classification.grade if classification else None,
        tier=classification.tier if classification else None,
        lifecycle=classification.lifecycle if classification else None,
        queue=queue,
        grade_rank=grade_rank(policy, classification),
        worth=worth(message, playbook, inputs.effects, inputs.save_rates),
        respond_by=None if target is None else calendar.respond_by(opened_at, target),
        expires_at=None if expires is None else opened_at + timedelta(days=expires),
        waiting=waiting,
        tell_at=tell_at,
        allocated_at=None if waiting == "capacity" else opened_at,
        causes=list(raised.task.causes),
        suspected_leaving_cause=raised.leaving,
        lapse_probability=lapse.probability if lapse else None,
        lapse_days=lapse.days if lapse else None,
    )


def grown(task: Task, joined: Joined, message: RiskAssessed, inputs: TaskInputs) -> Task:
    """Return the task after further causes have joined it.

    The change is sent to endpoints, unless the task still waits to be sent. The numbers become
    those of the newest assessment; due date and response target only become earlier. The plan
    stays: its owner may be carrying it out.
    """
    playbook = choose(inputs.policy, message.standing, joined.causes[0])
    calendar = inputs.calendar(task.owner_id if task.queue == "owner" else None)
    days, target = playbook.due_working_days, playbook.response_hours
    due_at = calendar.due_at(
        joined.at, inputs.policy.working_days(message.band) if days is None else days
    )
    answer_by = None if target is None else calendar.respond_by(joined.at, target)
    causes = list(dict.fromkeys((*warned_of(task), *joined.causes)))
    own = named(inputs.policy, task.plan.playbook)
    lapse = message.lapse
    sent = {} if task.waiting else {"version": task.version + 1, "changed_at": joined.at}
    return msgspec.structs.replace(
        task,
        causes=causes,
        reasons=_reasons(message, task.cause, causes, task.plan, inputs, task.reasons),
        band=message.band,
        probability=message.probability,
        horizon_days=message.horizon_days,
        lapse_probability=lapse.probability if lapse else None,
        lapse_days=lapse.days if lapse else None,
        days_silent=message.days_silent,
        last_purchase_at=message.last_purchase_at,
        expected_value=message.expected_value,
        value_at_risk=message.value_at_risk,
        worth=worth(message, own, inputs.effects, inputs.save_rates),
        due_at=min(task.due_at, due_at),
        respond_by=min(filter(None, (task.respond_by, answer_by)), default=None),
        snoozed_until=None,
        **sent,
    )


def heeding(task: Task, wishes: Wishes, at: datetime | None = None) -> Task:
    """Return the open task with the channel that the customer allows now; the same task if none
    changes.

    `at`, business time: the change is sent to endpoints, unless the task still waits to be sent.
    """
    planned = reconsidered(task.plan, wishes) if task.status == "open" else task.plan
    if planned == task.plan:
        return task
    sent = {} if at is None or task.waiting else {"version": task.version + 1, "changed_at": at}
    return msgspec.structs.replace(task, plan=planned, **sent)


def _reasons(
    message: RiskAssessed,
    cause: str,
    causes: Sequence[str],
    planned: Plan,
    inputs: TaskInputs,
    before: Sequence[Reason] = (),
) -> list[Reason]:
    """Return what the owner reads: why the customer is at risk, and that a task helps if it does.

    Causes with a sign that is over keep their reason from `before`.
    """
    why = reasons_of(message, _leading_codes(cause, causes), inputs.policy, before)
    return [*why, *_helps(message, planned, inputs)]


def _helps(message: RiskAssessed, planned: Plan, inputs: TaskInputs) -> list[Reason]:
    """Return the reason that such customers come back more often with a task, where it is clear."""
    if inputs.effects is None:
        return []
    effect = inputs.effects.of(message.feature_row, planned.playbook)
    if effect is None or not effect.own or effect.low <= 0:
        return []
    code = HELPED_BY_CALL if planned.channel == "phone" else HELPED
    return [Reason(code=code, impact=effect.value, facts={"per_hundred": 100 * effect.value})]


def warned_of(task: Task) -> tuple[str, ...]:
    """Return the causes of a task by risk; other tasks have none."""
    if task.kind not in BY_RISK:
        return ()
    return tuple(task.causes) or (task.cause,)


def _leading_codes(cause: str, causes: Sequence[str]) -> list[str]:
    """Return the codes of the leading reasons; a rule is one only where it leads the task."""
    return [cause, *(c for c in causes if c not in {cause, POLICY_RULE})]


def _waits(
    owner_id: str | None, queue: Queue, opened_at: datetime, inputs: TaskInputs
) -> tuple[Waiting | None, datetime | None]:
    """Return why a new task is not sent at once, and until when it waits if that is known."""
    record = None if owner_id is None else inputs.owners.get(owner_id)
    if queue == "owner" and record is not None and record.capacity_per_day is not None:
        return "capacity", None
    at = inputs.calendar(owner_id).may_disturb_at(opened_at)
    return ("quiet", at) if at > opened_at else (None, None)


def close(task: Task, closed: Closed) -> Task:
    """Return the closed task."""
    return msgspec.structs.replace(
        task,
        status="closed",
        version=task.version + 1,
        closed_at=closed.at,
        close_reason=closed.reason,
    )
