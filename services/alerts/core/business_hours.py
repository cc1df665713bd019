"""Working time of owners: due dates, response targets and quiet hours.

Dates are computed in the owner's time zone. Working days and holidays come from the policy. A
duration in days ends at the same local time of day.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from services.alerts.core.policy_document import WEEKDAYS, Hours

UTC_ZONE = ZoneInfo("UTC")
USUAL = Hours()
DAYS_OFF_MAX = 400
"""Days in a row after which the search for a working day gives up."""


@dataclass(frozen=True, slots=True)
class WorkingCalendar:
    """The working time of one owner."""

    hours: Hours = USUAL
    zone: ZoneInfo = UTC_ZONE

    def works_on(self, day: date) -> bool:
        """Return whether `day` is a working day."""
        return WEEKDAYS[day.weekday()] in self.hours.working_days and (
            day not in self.hours.holidays
        )

    def due_at(self, opened_at: datetime, working_days: int) -> datetime:
        """Return `opened_at` moved on by `working_days`, in UTC.

        One working day after a Friday, or after a Sunday, is Monday.

        >>> WorkingCalendar().due_at(datetime(2017, 10, 6, 9, tzinfo=UTC), 1)  # a Friday
        datetime.datetime(2017, 10, 9, 9, 0, tzinfo=datetime.timezone.utc)
        """
        at = opened_at.astimezone(self.zone)
        for _ in range(working_days):
            at = self._next_working(at + timedelta(days=1))
        return at.astimezone(UTC)

    def may_disturb_at(self, at: datetime) -> datetime:
        """Return the first moment from `at` on that is not quiet, in UTC.

        It is `at` where the policy has no quiet hours, or no working day is found.

        >>> night = Hours(quiet_from="20:00", quiet_until="08:00")
        >>> WorkingCalendar(night).may_disturb_at(datetime(2017, 10, 6, 21, tzinfo=UTC))  # a Friday
        datetime.datetime(2017, 10, 9, 8, 0, tzinfo=datetime.timezone.utc)
        """
        quiet = _quiet_time(self.hours)
        if quiet is None:
            return at
        begin, end = quiet
        local = at.astimezone(self.zone)
        for _ in range(DAYS_OFF_MAX):
            if not self.works_on(local.date()):
                local = _midnight(local + timedelta(days=1))
            elif _within(local.time(), begin, end):
                # Over midnight, the quiet of an evening ends on the day after.
                later = (
                    local + timedelta(days=1) if begin > end and local.time() >= begin else local
                )
                local = later.replace(hour=end.hour, minute=end.minute, second=0, microsecond=0)
            else:
                return local.astimezone(UTC)
        return at

    def respond_by(self, opened_at: datetime, hours: float) -> datetime:
        """Return the response target in UTC, moved out of quiet time.

        It is `hours` after the first moment when the owner may be disturbed.
        """
        begin = self.may_disturb_at(opened_at)
        return self.may_disturb_at(begin + timedelta(hours=hours))

    def _next_working(self, at: datetime) -> datetime:
        for _ in range(DAYS_OFF_MAX):
            if self.works_on(at.date()):
                return at
            at += timedelta(days=1)
        return at


def _quiet_time(hours: Hours) -> tuple[time, time] | None:
    if hours.quiet_from is None or hours.quiet_until is None:
        return None
    return time.fromisoformat(hours.quiet_from), time.fromisoformat(hours.quiet_until)


def _within(now: time, begin: time, end: time) -> bool:
    """Return whether `begin` <= `now` < `end`, over midnight where `end` is earlier."""
    return begin <= now < end if begin <= end else now >= begin or now < end


def _midnight(at: datetime) -> datetime:
    return at.replace(hour=0, minute=0, second=0, microsecond=0)
