"""Before and after a date or an action: equal windows of the same customers. Counts, no judgement.

What it is for: what customers did in so many days before something, and in as many after it. An
action has a day of its own for every customer; each is compared with themselves around it. It
never says that the action made the difference: who got it was chosen, and time went on as well.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from services.scoring.core.features.events import DAY_S, EventColumns, Kind
from services.scoring.core.segments.movement import Doing, Flags, doing
from shared.kernel.errors import Invalid

Floats = NDArray[np.float64]
Source = Literal["campaign", "playbook", "service", "segment", "policy", "task"]
SOURCES: Final[tuple[Source, ...]] = get_args(Source)
HELP: Final = (
    "campaign:ID (sent or used), task, playbook:NAME, service:POLICY@VERSION (tasks by them), "
    "segment:ID (entering it), policy:VERSION (the value policy's)"
)


class NamedAction(NamedTuple):
    """An action as it is asked for."""

    source: Source
    id: str


def named(text: str) -> NamedAction:
    """Invalid where the text names no action.

    >>> named("campaign:spring:2026")
    NamedAction(source='campaign', id='spring:2026')
    """
    source, _, name = text.partition(":")
    if source not in SOURCES or (name == "") != (source == "task"):
        raise Invalid("--action", f"is none of {HELP}")
    return NamedAction(source, name)


@dataclass(frozen=True, slots=True)
class Action:
    """Something that was done, and when first to whom."""

    name: str
    at: Mapping[str, datetime]


@dataclass(frozen=True, slots=True)
class Compared:
    """The same customers in two windows of equal length."""

    before: Doing
    after: Doing
    left_out: int
    """Of the group: their windows are not whole, so that they cannot be compared."""


def days_of(at: Floats) -> Floats:
    """Beginnings of the UTC days: each customer's windows are whole days, and the day itself is
    the first of the window after."""
    return np.asarray(np.floor(at / DAY_S) * DAY_S)


def whole(events: EventColumns, at: Floats, window_s: float, end: float) -> Flags:
    """bool[customers]: bought before the window before, and the window after is over at `end`.

    `at` float64[customers], Unix seconds, NaN for who is not concerned. A customer won within
    the window would only have been counted in a part of it.
    """
    first = np.full(len(at), np.inf)
    purchase = events.kind == Kind.PURCHASE
    np.minimum.at(first, events.row[purchase], events.time[purchase])
    return np.asarray((first < at - window_s) & (at + window_s <= end))


def compared(
    events: EventColumns, group: Flags, at: Floats, fit: Flags, window_s: float
) -> Compared:
    """Of the customers under the mask `group` that are `fit` (`whole`), around their own `at`."""
    chosen = group & fit
    mine = events.select(chosen[events.row])
    around = replace(mine, time=mine.time - at[mine.row])
    return Compared(
        before=doing(around, chosen, -window_s, 0.0),
        after=doing(around, chosen, 0.0, window_s),
        left_out=int(group.sum() - chosen.sum()),
    )
