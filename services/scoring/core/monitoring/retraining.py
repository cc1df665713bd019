"""When to train again: on schedule, or sooner while an alarm stands.

What it is for: one decision with its reason. It never trains.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta


def due(
    last: datetime | None,
    now: datetime,
    standing: Mapping[str, str],
    every_days: int,
    pause_days: int,
) -> str | None:
    """Why to train now; None: not yet.

    An alarm trains at most once in `pause_days`: what the last training could not mend, the same
    data will not mend tomorrow.
    """
    if last is None:
        return "nothing was ever trained"
    age = now - last
    if age >= timedelta(days=every_days):
        return f"the last training is {age.days} days old"
    for name, why in standing.items():
        if why and age >= timedelta(days=pause_days):
            return f"alarm {name}: {why}"
    return None
