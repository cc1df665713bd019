"""Tasks without a risk: raised by the calendar, or because a customer entered a segment.

It computes which occurrences of a schedule fall on a day, and makes their tasks. The id of such a
task is derived from the occurrence, so that repeated runs raise it once.
"""

import calendar
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final, Literal
from zoneinfo import ZoneInfo

import msgspec

from services.alerts.core.consent import Wishes
from services.alerts.core.customer import CustomerState
from services.alerts.core.ids import stable_id
from services.alerts.core.playbook import grade_rank, named, plan, queue_of
from services.alerts.core.policy_document import Care
from services.alerts.core.policy_parts import Both
from services.alerts.core.task import Task, TaskInputs
from services.alerts.core.wording.catalogue import language_of
from shared.contracts.risk import Band, Classification, Grade

NO_CURRENCY: Final = "XXX"
"""ISO 4217 code for no currency, for a customer without an assessment."""

NO_RISK: Final[Mapping[str, Any]] = {
    "reasons": [], "days_silent": None, "last_purchase_at": None, "expected_value": 0.0,
    "revision": 0, "model_version": "", "received_ms": 0,
}  # fmt: skip
"""Risk fields of a task that is not about risk."""


@dataclass(frozen=True, slots=True)
class KnownNumbers:
    """Numbers of a customer's newest assessment; the defaults stand for no assessment."""

    band: Band = "low"
    probability: float = 0.0
    horizon_days: int = 0
    value_at_risk: float = 0.0
    currency: str = NO_CURRENCY
    grade: Grade | None = None


NOTHING: Final = KnownNumbers()
Planned = Literal["care", "segment"]
"""Kinds of tasks that no assessment raises."""


def known_of(state: CustomerState) -> KnownNumbers:
    """Return the numbers of the customer's newest assessment."""
    return KnownNumbers(
        state.band or NOTHING.band,
        state.probability or 0.0,
        state.horizon_days or 0,
        state.value_at_risk or 0.0,
        state.currency or NO_CURRENCY,
        state.grade,
    )


def falls_on(schedule: Care, today: date) -> bool:
    """Return whether the schedule's holiday is today.

    In a year without 29 February, such a holiday is on the 28th.
    """
    return schedule.on is not None and schedule.on in month_days(today)


def birthdays_of(schedule: Care, today: date) -> list[str]:
    """Return the birthdays for which a schedule raises tasks today, as `MM-DD`."""
    if schedule.birthday_days_before is None:
        return []
    return month_days(today + timedelta(days=schedule.birthday_days_before))


def month_days(day: date) -> list[str]:
    """Return the day as `MM-DD`; 28 February includes the 29th in years that have none.

    >>> month_days(date(2017, 2, 28)), month_days(date(2016, 2, 28))
    (['02-28', '02-29'], ['02-28'])
    """
    leap_day = (
        ["02-29"] if (day.month, day.day) == (2, 28) and not calendar.isleap(day.year) else []
    )
    return [f"{day:%m-%d}", *leap_day]


def planned_id(kind: Planned, identity: str, name: str, occurrence: str) -> str:
    """Return the id of the task of one occurrence; `identity`: `CustomerState.identity`."""
    return "rt_" + stable_id(kind, identity, name, occurrence)


def cause_of(kind: Planned, name: str) -> str:
    """Return the cause of such a task, which is the same for all occurrences."""
    return f"{kind}:{name}"


def planned_task(  # noqa: PLR0913 (each names one thing that differs)
    state: CustomerState,
    wishes: Wishes,
    inputs: TaskInputs,
    *,
    kind: Planned,
    name: str,
    occurrence: str,
    title: Both,
    playbook: str,
    at: datetime,
) -> Task:
    """Return the task of a schedule or of a segment entry; `occurrence` makes its id unique."""
    chosen, known, profile = named(inputs.policy, playbook), known_of(state), wishes.profile
    owner = profile.owner
    queue = queue_of(chosen.service, profile.owner_id)
    own = inputs.calendar(profile.owner_id if queue == "owner" else None)
    days = (
        inputs.policy.due_working_days
        if chosen.due_working_days is None
        else (chosen.due_working_days)
    )
    target, expires = chosen.response_hours, inputs.policy.expire_days
    tell_at = own.may_disturb_at(at)
    return Task(
        customer_id=state.customer_id,
        id=planned_id(kind, state.identity, name, occurrence),
        cause=cause_of(kind, name),
        episode=0,
        status="open",
        version=1,
        customer_name=profile.name,
        owner_id=profile.owner_id,
        owner_name=owner.name if owner else None,
        language=language_of(profile.language),
        time_zone=profile.time_zone,
        **NO_RISK,
        band=known.band,
        probability=known.probability,
        horizon_days=known.horizon_days,
        value_at_risk=known.value_at_risk,
        currency=known.currency,
        opened_at=at,
        due_at=own.due_at(at, days),
        created_at=inputs.created_at,
        kind=kind,
        plan=plan(chosen, inputs.policy, wishes, title),
        policy=inputs.label,
        grade=known.grade,
        queue=queue,
        grade_rank=grade_rank(inputs.policy, Classification(grade=known.grade)),
        respond_by=None if target is None else own.respond_by(at, target),
        expires_at=None if expires is None else at + timedelta(days=expires),
        waiting="quiet" if tell_at > at else None,
        tell_at=tell_at if tell_at > at else None,
        allocated_at=at,
        worth=known.value_at_risk * inputs.save_rates.get(chosen.id, chosen.save_rate),
        causes=[cause_of(kind, name)],
    )


def updated(task: Task, state: CustomerState, inputs: TaskInputs, at: datetime) -> Task:
    """Return a task with the numbers of its customer's first assessment, which came after it.

    The change is sent to endpoints, unless the task still waits to be sent.
    """
    known, own = known_of(state), named(inputs.policy, task.plan.playbook)
    sent = {} if task.waiting else {"version": task.version + 1, "changed_at": at}
    return msgspec.structs.replace(
        task,
        band=known.band,
        probability=known.probability,
        horizon_days=known.horizon_days,
        value_at_risk=known.value_at_risk,
        currency=known.currency,
        grade=known.grade,
        grade_rank=grade_rank(inputs.policy, Classification(grade=known.grade)),
        worth=known.value_at_risk * inputs.save_rates.get(own.id, own.save_rate),
        **sent,
    )


def day_of(now: datetime, zone: ZoneInfo) -> date:
    """Return the date of `now` in a time zone."""
    return now.astimezone(zone).date()
