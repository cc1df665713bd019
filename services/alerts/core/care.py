"""Tasks that no risk raises: by the calendar, or because a customer entered a segment.

What it is for: which occurrences of a schedule fall on a day, and the task they make. The id of
such a task names the occurrence, so that it exists once, whoever looks how often.
"""

import calendar
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Any, Final, Literal
from zoneinfo import ZoneInfo

from services.alerts.core.document import Both, Care
from services.alerts.core.ids import stable_id
from services.alerts.core.playbook import grade_rank, named, plan, queue_of
from services.alerts.core.task import Ground, Task
from services.alerts.core.wording.catalogue import language_of
from shared.contracts.events import Profile
from shared.contracts.risk import Grade, Standing

NO_CURRENCY: Final = "XXX"
"""ISO 4217 for no currency: nothing of value is at stake in such a task."""

NO_RISK: Final[Mapping[str, Any]] = {
    "band": "low", "probability": 0.0, "horizon_days": 0, "reasons": [], "days_silent": None,
    "last_purchase_at": None, "expected_value": 0.0, "value_at_risk": 0.0,
    "currency": NO_CURRENCY, "revision": 0, "model_version": "", "received_ms": 0,
}  # fmt: skip
"""What a task says of the risk that it is not about."""


def falls_on(schedule: Care, today: date) -> bool:
    """Whether a holiday is today; a 29th of February is the 28th in other years."""
    return schedule.on is not None and schedule.on in month_days(today)


def birthdays_of(schedule: Care, today: date) -> list[str]:
    """Month and day of the birthdays that a schedule is about today, as `MM-DD`."""
    if schedule.birthday_days_before is None:
        return []
    return month_days(today + timedelta(days=schedule.birthday_days_before))


def month_days(day: date) -> list[str]:
    """The day as `MM-DD`, and the 29th of February with the 28th where a year has none.

    >>> month_days(date(2017, 2, 28)), month_days(date(2016, 2, 28))
    (['02-28', '02-29'], ['02-28'])
    """
    leap_day = (
        ["02-29"] if (day.month, day.day) == (2, 28) and not calendar.isleap(day.year) else []
    )
    return [f"{day:%m-%d}", *leap_day]


def planned_task(  # noqa: PLR0913 (each names one thing that differs)
    customer_id: str,
    profile: Profile,
    ground: Ground,
    *,
    kind: Literal["care", "segment"],
    name: str,
    occurrence: str,
    title: Both,
    playbook: str,
    grade: Grade | None,
    at: datetime,
) -> Task:
    """The task of a schedule or of an entry; `occurrence` makes it one of its kind."""
    chosen = named(ground.policy, playbook)
    owner = profile.owner
    queue = queue_of(chosen.service, owner.id if owner else None)
    own = ground.calendar(owner.id if owner and queue == "owner" else None)
    days = (
        ground.policy.due_working_days
        if chosen.due_working_days is None
        else (chosen.due_working_days)
    )
    target, expires = chosen.response_hours, ground.policy.expire_days
    tell_at = own.may_disturb_at(at)
    return Task(
        customer_id=customer_id,
        id="rt_" + stable_id(kind, customer_id, name, occurrence),
        cause=f"{kind}:{name}",
        episode=0,
        status="open",
        version=1,
        customer_name=profile.name,
        owner_id=owner.id if owner else None,
        owner_name=owner.name if owner else None,
        language=language_of(profile.language),
        time_zone=profile.time_zone,
        **NO_RISK,
        opened_at=at,
        due_at=own.due_at(at, days),
        created_at=ground.created_at,
        kind=kind,
        plan=plan(chosen, ground.policy, profile, title),
        policy=ground.label,
        grade=grade,
        queue=queue,
        grade_rank=grade_rank(ground.policy, Standing(grade=grade)),
        respond_by=None if target is None else own.respond_by(at, target),
        expires_at=None if expires is None else at + timedelta(days=expires),
        waiting="quiet" if tell_at > at else None,
        tell_at=tell_at if tell_at > at else None,
        allocated_at=at,
    )


def day_of(now: datetime, zone: ZoneInfo) -> date:
    """The day that it is in a time zone."""
    return now.astimezone(zone).date()
