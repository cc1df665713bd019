"""Times as columns: Unix seconds UTC in float64, exact to the microsecond until the year 2255.

What it is for: the arithmetic of thousands of times at once, and their objects only where they
leave the process. It never reads a clock.
"""

from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def whole_us(seconds: Floats) -> Floats:
    """To the microsecond, as PostgreSQL keeps them: what is remembered equals what is read."""
    return np.asarray(np.rint(seconds * 1e6) / 1e6)


def moments(seconds: Floats) -> list[datetime]:
    """The time of each row; of those that are equal one object, since a turn has few."""
    rows: list[float] = seconds.tolist()
    at = {one: datetime.fromtimestamp(one, UTC) for one in set(rows)}
    return [at[one] for one in rows]


def seconds_of(times: Sequence[datetime | None]) -> Floats:
    """float64[n]; NaN for None."""
    return np.array([np.nan if at is None else at.timestamp() for at in times], np.float64)
