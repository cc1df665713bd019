"""Times as columns: Unix seconds UTC in float64, exact to the microsecond until the year 2255.

Arithmetic runs on thousands of times at once; they become objects only where they leave the
process. This module never reads a clock.
"""

from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np

from shared.kernel.arrays import Floats


def whole_us(seconds: Floats) -> Floats:
    """Round to microseconds, as PostgreSQL stores times, so that cached and stored times agree."""
    return np.asarray(np.rint(seconds * 1e6) / 1e6)


def moments(seconds: Floats) -> list[datetime]:
    """Return the time of each row; equal times share one object, since a batch has few."""
    rows: list[float] = seconds.tolist()
    at = {one: datetime.fromtimestamp(one, UTC) for one in set(rows)}
    return [at[one] for one in rows]


def seconds_of(times: Sequence[datetime | None]) -> Floats:
    """float64[n]; NaN for None."""
    return np.array([np.nan if at is None else at.timestamp() for at in times], np.float64)
