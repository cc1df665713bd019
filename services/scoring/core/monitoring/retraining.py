"""Decides when to train again: on schedule, or sooner while an alarm is active.

It returns the decision with its reason and never trains.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta


def due(
    last: datetime | None,
    now: datetime,
    alarms: Mapping[str, str],
    every_days: int,
    pause_days: int,
) -> str | None:
    """Return why to train now, or None if training is not due.

    An alarm causes at most one training in `pause_days`: what the last training could not
    improve, the same data will not improve tomorrow.
    """
    if last is None:
        return "nothing was ever trained"
    age = now - last
    if age >= timedelta(days=every_days):
        return f"the last training is {age.days} days old"
    for name, why in alarms.items():
        if why and age >= timedelta(days=pause_days):
            return f"alarm {name}: {why}"
    return None
