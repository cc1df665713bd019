"""Computes how many waiting tasks an owner gets today, and how many move to the fallback.

It only counts. The order of the queue decides which tasks these are: by grade first if the policy
sets this order, then by expected saved value.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo

from services.alerts.core.owner import OwnerRecord

NO_LIMIT: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Load:
    """An owner's tasks of a day: those allocated today, and those that wait for capacity."""

    taken: int
    waiting: int


@dataclass(frozen=True, slots=True)
class Share:
    """Counts of waiting tasks: the first `own` are the owner's, the next the fallback's."""

    own: int
    fallback: int
    reason: str = ""


def share_out(
    owner: OwnerRecord | None, fallback: OwnerRecord | None, loads: Mapping[str, Load]
) -> Share:
    """Return the shares of an owner and of the fallback; the rest waits for another day.

    An owner without a record or without a limit gets all waiting tasks.
    """
    if owner is None or owner.capacity_per_day is None:
        return Share(NO_LIMIT, 0)
    load = loads[owner.id]
    own = min(load.waiting, max(0, owner.capacity_per_day - load.taken))
    over = load.waiting - own
    if fallback is None or not over:
        return Share(own, 0)
    room = over
    if fallback.capacity_per_day is not None:
        there = loads[fallback.id]
        room = max(0, fallback.capacity_per_day - there.taken - there.waiting)
    reason = (
        f"{owner.id} has {load.taken + load.waiting} tasks for a day of {owner.capacity_per_day}"
    )
    return Share(own, min(over, room), reason)


def day_begin(now: datetime, zone: ZoneInfo) -> datetime:
    """Return when the day of `now` began in a time zone, in UTC."""
    local = now.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0)
    return local.astimezone(UTC)
