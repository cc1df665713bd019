"""Proposes a horizon and test cutoffs from a history, and refuses cutoffs that do not fit it.

A proposal depends on the customers' usual gaps and on the length of the history alone, never on
how well anything predicts.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np

from services.scoring.core.features.events import DAY_S, Kind
from services.scoring.training.data.event_table import EventTable
from services.scoring.training.fit.promotion_gate import day
from shared.kernel.arrays import Floats
from shared.kernel.errors import Invalid

HORIZONS_DAYS: Final = (7, 14, 28, 60, 90, 180, 365)
"""Horizons to propose: lengths that a company plans in."""
GAPS: Final = 2.0
"""Usual gaps in a horizon: the median customer who stays is then mostly back within it."""
HISTORY_SHARE_MAX: Final = 0.25
"""Largest share of the history for the horizon: a past, its outcomes, and a test need three."""
CUTOFFS: Final = 3
"""Test cutoffs to propose, a horizon apart: a season more or less then decides nothing alone."""
BEFORE_HORIZONS: Final = 2
"""Least history before a test cutoff, in horizons."""
LATE_DAYS_MAX: Final = 1.0
"""A cutoff may be this long after the last complete day: tomorrow, for today's predictions."""


def horizon_days(table: EventTable) -> int:
    """Return the proposed horizon in days: twice the usual gap, rounded up to `HORIZONS_DAYS`.

    At most a quarter of the history. Raises Invalid where that is less than the shortest one.
    """
    most = _days(table) * HISTORY_SHARE_MAX
    allowed = [days for days in HORIZONS_DAYS if days <= most]
    if not allowed:
        raise Invalid(
            "horizon-days",
            f"the file covers {_days(table):.0f} d of purchases, too few for a horizon of "
            f"{HORIZONS_DAYS[0]} days and a past: give --horizon-days and --cutoffs to try it",
        )
    wanted = GAPS * usual_gap_days(table)
    return next((days for days in allowed if days >= wanted), allowed[-1])


def usual_gap_days(table: EventTable) -> float:
    """Return the median of the customers' mean gaps between purchase days; inf without a gap."""
    bought = table.events.kind == Kind.PURCHASE
    on = np.floor(table.events.time[bought] / DAY_S).astype(np.int64)
    pairs = np.unique(np.stack([table.events.row[bought], on]), axis=1)
    count = np.bincount(pairs[0])
    ends = np.cumsum(count)[count > 1]
    spans = pairs[1, ends - 1] - pairs[1, ends - count[count > 1]]
    gaps: Floats = spans / (count[count > 1] - 1.0)
    return float(np.median(gaps)) if len(gaps) else np.inf


def cutoffs(table: EventTable, days: int) -> list[float]:
    """Return the newest cutoffs with an observed horizon, ascending; unix seconds, UTC midnights.

    Raises Invalid where there is none with a past before it.
    """
    step = days * DAY_S
    last = np.floor(table.observed_until / DAY_S) * DAY_S - step
    first = float(table.first_purchases().min()) + BEFORE_HORIZONS * step
    found = [float(last - step * at) for at in range(CUTOFFS) if last - step * at >= first]
    if not found:
        raise Invalid(
            "cutoffs",
            f"the file covers {_days(table):.0f} d of purchases, too few for a horizon of "
            f"{days} days after {BEFORE_HORIZONS} of history: give --cutoffs, or a shorter "
            "--horizon-days",
        )
    return found[::-1]


def refuse_late(table: EventTable, given: Sequence[float]) -> None:
    """Raise Invalid, naming the last day of the data, for a cutoff beyond it."""
    late = [at for at in given if at > table.observed_until + LATE_DAYS_MAX * DAY_S]
    if late:
        beyond, end = day(late[0]), day(table.observed_until)
        raise Invalid("cutoffs", f"{beyond} lies beyond the data, whose last day ends on {end}")


def _days(table: EventTable) -> float:
    return float(table.observed_until - table.first_purchases().min()) / DAY_S
