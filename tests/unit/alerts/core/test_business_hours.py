"""Due dates in working days."""

from datetime import UTC, datetime, timedelta

import pytest

from services.alerts.core.business_hours import WorkingCalendar

MONDAY = datetime(2017, 10, 2, 15, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("weekday", "working_days", "days_later"),
    [(0, 0, 0), (0, 1, 1), (0, 3, 3), (3, 1, 1), (3, 3, 5), (4, 1, 3), (5, 1, 2), (6, 1, 1),
     (4, 6, 10)],
)  # fmt: skip
def test_weekends_do_not_count(weekday: int, working_days: int, days_later: int) -> None:
    opened = MONDAY + timedelta(days=weekday)
    assert WorkingCalendar().due_at(opened, working_days) == opened + timedelta(days=days_later)
