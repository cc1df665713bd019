"""When a silent customer is assessed next.

Every assessment reads and may publish, so ordinary silences cost none. From
`lapse.ORDINARY_SHARE` of the lapse length on, assessments come often enough that no silence grows
by more than `STEP_SHARE` of it unnoticed.
"""

from typing import Final

import numpy as np

from services.scoring.core.features.events import DAY_S
from services.scoring.core.risk.lapse import DORMANT_SHARE, ORDINARY_SHARE, SilenceColumns
from shared.kernel.arrays import Flags, Floats

STEP_SHARE: Final = 0.05
"""Share of the lapse length between two assessments of a silence that is no longer ordinary: 1.4 of
28 days, 9 of 180."""
STEP_SHARE_DORMANT: Final = 0.025
"""The same for a dormant customer, because a warning is then decided: one that is due at 0.7
comes before three quarters."""
STEP_DAYS_MIN: Final = 1.0
"""A band is no finer than a day; limits the sweep to one assessment per customer and day."""
STEP_DAYS_MAX: Final = 14.0
"""Limits how late a changed model or setting reaches a customer who buys once a year."""
GONE_STEP_DAYS: Final = 7.0
"""After the lapse length little changes."""


def ebbing(silences: SilenceColumns) -> Flags:
    """bool[n]: the silence is not ordinary any more, and has not reached the lapse length."""
    return np.asarray((silences.share >= ORDINARY_SHARE) & ~silences.reached)


def assessment_step_days(silences: SilenceColumns) -> Floats:
    """Return the days between two assessments of a silence no longer ordinary, float64[n]."""
    share = np.where(silences.share >= DORMANT_SHARE, STEP_SHARE_DORMANT, STEP_SHARE)
    return np.maximum(share * silences.days, STEP_DAYS_MIN)


def next_assessment(silences: SilenceColumns, now: Floats, at_latest: Floats) -> Floats:
    """Return when the silence sweep assesses next, float64[n], Unix seconds UTC.

    ordinary   when the silence ceases to be ordinary (`ORDINARY_SHARE` of the lapse length).
    ebbing     after `assessment_step_days`.
    gone       after a week.
    prospect   after the longest step: a first purchase is an event anyway.
    Always between `STEP_DAYS_MIN` and `STEP_DAYS_MAX` days from `now`, but no later than
    `at_latest` (Unix seconds; inf where nothing else waits for a time).
    """
    step = np.where(
        silences.share < ORDINARY_SHARE,
        ORDINARY_SHARE * silences.days - silences.silence,
        assessment_step_days(silences),
    )
    step = np.where(silences.reached, GONE_STEP_DAYS, step)
    step = np.clip(np.nan_to_num(step, nan=STEP_DAYS_MAX), STEP_DAYS_MIN, STEP_DAYS_MAX)
    return np.asarray(np.minimum(now + step * DAY_S, at_latest))
