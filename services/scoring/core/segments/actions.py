"""Compares the same customers before and after a date or an action: counts, no judgement.

The two windows have equal length. An action has its own day for every customer, and each customer
is compared with themselves around it. A difference does not show that the action caused it: its
receivers were chosen, and time passed as well.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, Literal, NamedTuple, get_args

import numpy as np

from services.scoring.core.features.events import DAY_S, EventColumns, Kind
from services.scoring.core.segments.movement import GroupBehaviour, doing
from shared.kernel.arrays import Flags, Floats
from shared.kernel.errors import Invalid

Source = Literal["campaign", "playbook", "service", "segment", "policy", "task"]
SOURCES: Final[tuple[Source, ...]] = get_args(Source)
HELP: Final = (
    "campaign:ID (sent or used), task, playbook:NAME, service:POLICY@VERSION (tasks by them), "
    "segment:ID (entering it), policy:VERSION (the value policy's)"
)


class NamedAction(NamedTuple):
    """An action as it is requested."""

    source: Source
    id: str


def named(text: str) -> NamedAction:
    """Parse an action's name; raises Invalid where the text names no action.

    >>> named("campaign:spring:2026")
    NamedAction(source='campaign', id='spring:2026')
    """
    source, _, name = text.partition(":")
    if source not in SOURCES or (name == "") != (source == "task"):
        raise Invalid("--action", f"is none of {HELP}")
    return NamedAction(source, name)


@dataclass(frozen=True, slots=True)
class Action:
    """An action, and each customer's first time of it."""

    name: str
    at: Mapping[str, datetime]


@dataclass(frozen=True, slots=True)
class Compared:
    """The same customers in two windows of equal length."""

    before: GroupBehaviour
    after: GroupBehaviour
    left_out: int
    """Members of the group without whole windows, who cannot be compared."""


def days_of(at: Floats) -> Floats:
    """Return the beginnings of the UTC days: windows are whole days, and the day itself is the
    first of the window after."""
    return np.asarray(np.floor(at / DAY_S) * DAY_S)


def whole(events: EventColumns, at: Floats, window_s: float, end: float) -> Flags:
    """bool[customers]: bought before the window before, and the window after is over at `end`.

    `at` float64[customers], Unix seconds, NaN for customers without the action. A customer won
    within the window would have been counted in only a part of it.
    """
    first = np.full(len(at), np.inf)
    purchase = events.kind == Kind.PURCHASE
    np.minimum.at(first, events.row[purchase], events.time[purchase])
    return np.asarray((first < at - window_s) & (at + window_s <= end))


def compared(
    events: EventColumns, group: Flags, at: Floats, fit: Flags, window_s: float
) -> Compared:
    """Compare the customers of the mask `group` that are `fit` (`whole`), around their own `at`."""
    chosen = group & fit
    mine = events.select(chosen[events.row])
    around = replace(mine, time=mine.time - at[mine.row])
    return Compared(
        before=doing(around, chosen, -window_s, 0.0),
        after=doing(around, chosen, 0.0, window_s),
        left_out=int(group.sum() - chosen.sum()),
    )
