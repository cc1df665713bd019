"""The lifecycle of an open task: its changes by people and timers, and the events stored of them.

A change is sent to endpoints when the task's version grows. An owner's own steps, which come from
there, do not make it grow and are not sent back.

open ─▶ acknowledged ─▶ in progress ─▶ closed (verdict, dismissed, expired, came_back, …)
  │            ▲ any of them may be snoozed, given to another owner, commented on
  └─ not answered by `respond_by`: escalated to the manager; then reassigned
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal

import msgspec

from services.alerts.core.business_hours import WorkingCalendar
from services.alerts.core.owner import OwnerRecord
from services.alerts.core.task import Task
from shared.kernel.errors import Invalid

EventKind = Literal[
    "acknowledged", "started", "snoozed", "woken", "commented", "reassigned", "escalated",
    "unanswered", "rebalanced", "allocated", "verdict", "dismissed", "expired", "joined",
    "message_handed", "message_suppressed", "message_result",
]  # fmt: skip
RISK: Final = "risk"
"""Actor of events caused by an assessment."""
TIMER: Final = "timer"
"""Actor of events caused by a timer."""
SNOOZE_DAYS_MAX: Final = 92
"""A quarter: a task that may wait longer is better dismissed."""
ESCALATIONS_MAX: Final = 2
"""First the task is escalated to the manager, then reassigned. After that it only expires."""


class TaskEvent(msgspec.Struct, kw_only=True, frozen=True):
    """An event in the history of a task."""

    customer_id: str
    task_id: str
    at: datetime
    """Business time."""
    recorded_at: datetime
    """Wall clock."""
    actor: str
    kind: EventKind
    detail: dict[str, Any] = {}


@dataclass(frozen=True, slots=True)
class Acknowledge:
    """The owner has seen it."""


@dataclass(frozen=True, slots=True)
class Start:
    """The owner works on it."""


@dataclass(frozen=True, slots=True)
class Snooze:
    """The task leaves the queue until a time; None: it returns at once."""

    until: datetime | None


@dataclass(frozen=True, slots=True)
class Comment:
    """A comment on the task."""

    text: str


@dataclass(frozen=True, slots=True)
class Reassign:
    """The task gets another owner."""

    owner_id: str
    owner_name: str | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class Escalate:
    """The owner asks a manager for help."""

    to: str | None
    """None: the owner's manager."""
    reason: str | None


@dataclass(frozen=True, slots=True)
class Dismiss:
    """The task is closed as not worth doing; the note explains why."""

    note: str


Action = Acknowledge | Start | Snooze | Comment | Reassign | Escalate | Dismiss


class Closed409(Exception):  # noqa: N818 (an answer, not an error of ours)
    """The task is closed: only comments can be added."""


@dataclass(frozen=True, slots=True)
class ActionResult:
    """The result of an action: the task, and the event to store; `kind` None: nothing changed."""

    task: Task
    kind: EventKind | None
    detail: Mapping[str, Any]
    sent: bool = False


def act(task: Task, action: Action, now: datetime, manager_id: str | None) -> ActionResult:
    """Return the task after an action at `now`, business time.

    Repeating an action changes nothing. Raises Invalid for an impossible action and Closed409 for
    one on a closed task.
    """
    if isinstance(action, Comment):
        return ActionResult(task, "commented", {"text": action.text})
    if task.status == "closed":
        if isinstance(action, Dismiss) and task.close_reason == "dismissed":
            return ActionResult(task, None, {})
        raise Closed409
    if isinstance(action, Acknowledge | Start):
        return _advance(task, action)
    if isinstance(action, Snooze):
        return _snooze(task, action, now)
    if isinstance(action, Reassign):
        return _reassign(task, action, now)
    if isinstance(action, Escalate):
        return _escalate(task, action, now, manager_id)
    return ActionResult(
        _dismissed(task, action.note, now), "dismissed", {"note": action.note}, sent=True
    )


def _advance(task: Task, action: Acknowledge | Start) -> ActionResult:
    if isinstance(action, Start):
        if task.progress == "in_progress":
            return ActionResult(task, None, {})
        return ActionResult(_with(task, progress="in_progress"), "started", {})
    if task.progress != "new":
        return ActionResult(task, None, {})
    return ActionResult(_with(task, progress="acknowledged"), "acknowledged", {})


def _snooze(task: Task, action: Snooze, now: datetime) -> ActionResult:
    until = action.until
    if until is None:
        if task.snoozed_until is None:
            return ActionResult(task, None, {})
        return ActionResult(_with(task, snoozed_until=None), "woken", {})
    if not now < until <= now + timedelta(days=SNOOZE_DAYS_MAX):
        raise Invalid("until", f"must be within {SNOOZE_DAYS_MAX} days from now, {now:%FT%TZ}")
    if task.snoozed_until == until:
        return ActionResult(task, None, {})
    snoozed = _with(task, snoozed_until=until, progress=_seen(task))
    return ActionResult(snoozed, "snoozed", {"until": until.isoformat()})


def _reassign(task: Task, action: Reassign, now: datetime) -> ActionResult:
    if task.owner_id == action.owner_id and task.queue == "owner":
        return ActionResult(task, None, {})
    detail = {"from": task.owner_id, "to": action.owner_id, "reason": action.reason}
    return ActionResult(
        given(task, action.owner_id, action.owner_name, now), "reassigned", detail, sent=True
    )


def _escalate(task: Task, action: Escalate, now: datetime, manager_id: str | None) -> ActionResult:
    to = action.to or manager_id
    if to is None:
        raise Invalid("to", "name a person: the owner has no manager on record")
    if task.escalated_to == to:
        return ActionResult(task, None, {})
    after = _changed(task, now, escalations=max(1, task.escalations), escalated_to=to)
    return ActionResult(after, "escalated", {"to": to, "reason": action.reason}, sent=True)


def given(task: Task, owner_id: str, owner_name: str | None, now: datetime) -> Task:
    """Return the task as the new work of another owner, who has not seen it yet."""
    return _changed(
        task,
        now,
        owner_id=owner_id,
        owner_name=owner_name,
        queue="owner",
        progress="new",
        snoozed_until=None,
        allocated_at=now,
        waiting=None,
        tell_at=None,
    )


def unanswered(
    task: Task, owners: Mapping[str, OwnerRecord], now: datetime, calendar: WorkingCalendar
) -> ActionResult:
    """Escalate or reassign a task that was not taken on by its response target.

    It is first escalated to the manager, then reassigned to the fallback, or to the manager.
    Where the owner has neither, it stays, and an event `unanswered` is stored.
    """
    record = owners.get(task.owner_id or "")
    manager = record.manager_id if record else None
    other = (record.fallback_id if record else None) or manager
    target = task.respond_by.isoformat() if task.respond_by else None
    if task.escalations == 0 and manager is not None:
        after = _changed(
            task,
            now,
            escalations=1,
            escalated_to=manager,
            respond_by=_next_target(task, now, calendar),
        )
        return ActionResult(
            after, "escalated", {"to": manager, "reason": "no answer", "target": target}, sent=True
        )
    if other is None or other == task.owner_id:
        after = _with(task, escalations=ESCALATIONS_MAX)
        return ActionResult(after, "unanswered", {"target": target})
    name = owners[other].name if other in owners else None
    after = msgspec.structs.replace(given(task, other, name, now), escalations=ESCALATIONS_MAX)
    detail = {"from": task.owner_id, "to": other, "reason": "no answer", "target": target}
    return ActionResult(after, "reassigned", detail, sent=True)


def is_unanswered(task: Task, now: datetime) -> bool:
    """Return whether the response target has passed and the task can still be escalated."""
    return (
        task.status == "open"
        and task.progress == "new"
        and task.waiting is None
        and task.escalations < ESCALATIONS_MAX
        and task.respond_by is not None
        and task.respond_by <= now
    )


def released(task: Task, now: datetime) -> Task:
    """Return a waiting task, released: sent for the first time, and allocated at `now`."""
    return _with(task, waiting=None, tell_at=None, allocated_at=now)


def moved_over(task: Task, to: OwnerRecord, now: datetime) -> Task:
    """Return a task that waited for its owner's capacity, given to an owner with capacity."""
    return msgspec.structs.replace(given(task, to.id, to.name, now), version=task.version)


def _dismissed(task: Task, note: str, now: datetime) -> Task:
    return _changed(
        task,
        now,
        status="closed",
        closed_at=max(task.opened_at, now),
        close_reason="dismissed",
        note=note,
    )


def _next_target(task: Task, now: datetime, calendar: WorkingCalendar) -> datetime:
    """Return the next response target: as long from `now` as the first was from the opening."""
    first = (task.respond_by or now) - task.opened_at
    return calendar.may_disturb_at(now + max(first, timedelta(hours=1)))


def _seen(task: Task) -> str:
    return "acknowledged" if task.progress == "new" else task.progress


def _changed(task: Task, now: datetime, **changes: Any) -> Task:
    """Return the task with changes that are sent to endpoints."""
    changes = {"waiting": None, "tell_at": None} | changes
    return _with(task, version=task.version + 1, changed_at=max(now, task.opened_at), **changes)


def _with(task: Task, **changes: Any) -> Task:
    return msgspec.structs.replace(task, **changes)
