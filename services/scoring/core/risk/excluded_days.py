"""Days that do not count as silence: the company's closures and announced absences.

Days on which a customer could not buy, or had announced not to, do not count towards a lapse. This
module decides nothing: `lapse.silences_of` subtracts these days from the silence.
"""

from datetime import date, timedelta
from typing import Annotated, Final

import msgspec
import numpy as np
from msgspec import Meta

from services.scoring.core.features.events import DAY_S
from services.scoring.core.features.registry import column
from shared.kernel.arrays import Floats
from shared.kernel.errors import Invalid

Span = tuple[float, float]
"""From the first instant to the one after the last, Unix seconds UTC."""

CLOSURES_MAX: Final = 200
"""Closures of one calendar: four a year for half a century; each costs one pass per batch."""
EPOCH: Final = date(1970, 1, 1)


class Closure(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"from_": "from"}):
    """A closure of the company for all customers; both days are included, UTC."""

    from_: date
    until: date
    note: Annotated[str, Meta(max_length=200)] = ""


class ClosureCalendar(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The company's closures, as a document lists them."""

    closures: Annotated[list[Closure], Meta(max_length=CLOSURES_MAX)] = []


def closures_of(plain: object) -> tuple[Span, ...]:
    """Return the closures of a calendar read from YAML or JSON; raises Invalid naming the field.

    >>> closures_of({"closures": [{"from": "1970-01-02", "until": "1970-01-03"}]})
    ((86400.0, 259200.0),)
    """
    try:
        calendar = msgspec.convert(plain, ClosureCalendar, strict=False)
    except msgspec.ValidationError as error:
        raise Invalid("closures", str(error)) from None
    spans: list[Span] = []
    for closure in sorted(calendar.closures, key=lambda one: one.from_):
        if closure.until < closure.from_:
            raise Invalid("closures", f"until {closure.until} lies before from {closure.from_}")
        begin, end = _second(closure.from_), _second(closure.until + timedelta(days=1))
        if spans and begin <= spans[-1][1]:  # joined, so that no day counts twice
            before = spans.pop()
            begin, end = before[0], max(before[1], end)
        spans.append((begin, end))
    return tuple(spans)


def paused_days(
    x: Floats, now: Floats, closures: tuple[Span, ...], away_from: Floats, away_until: Floats
) -> Floats:
    """Days of the present silence that do not count, float64[n]; 0 for prospects.

    `now` and `away_from`, `away_until` (an announced absence, NaN where there is none) are Unix
    seconds UTC, float64[n]. A day of a closure within an absence counts once.
    """
    silence = np.nan_to_num(column(x, "recency_days"))
    begin = now - silence * DAY_S
    away = np.minimum(away_until, now), np.maximum(away_from, begin)
    paused = np.nan_to_num(np.maximum(away[0] - away[1], 0.0))
    for start, end in closures:
        left, right = np.maximum(begin, start), np.minimum(now, end)
        closed = np.maximum(right - left, 0.0)
        both = np.maximum(np.minimum(right, away[0]) - np.maximum(left, away[1]), 0.0)
        paused += closed - np.where(closed > 0, np.nan_to_num(both), 0.0)
    return np.asarray(np.minimum(paused / DAY_S, silence))


def _second(day: date) -> float:
    return (day - EPOCH).days * DAY_S
