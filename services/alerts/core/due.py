"""By when an owner should have acted: so many working days after a task was opened.

What it is for: the due date. Working days are Monday to Friday in UTC; it knows no holidays.
"""

from datetime import datetime, timedelta
from typing import Final

SATURDAY: Final = 5


def due_at(opened_at: datetime, working_days: int) -> datetime:
    """`opened_at` moved on by `working_days`: one after a Friday, or after a Sunday, is Monday.

    >>> from datetime import UTC
    >>> due_at(datetime(2017, 10, 6, 9, tzinfo=UTC), 1)  # a Friday
    datetime.datetime(2017, 10, 9, 9, 0, tzinfo=datetime.timezone.utc)
    """
    day = opened_at
    for _ in range(working_days):
        day += timedelta(days=1)
        while day.weekday() >= SATURDAY:
            day += timedelta(days=1)
    return day
