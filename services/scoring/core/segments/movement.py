"""Counts movements between segments or classifications, and a group's behaviour in a period.

The numbers of the segment report come from the history of classifications and the events. They do
not show the cause of a movement: groups are self-selected, and a difference is not an effect by
itself (the holdout of alerts measures effects).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import numpy as np

from services.scoring.core.features.events import DAY_S, EventColumns, Kind
from shared.kernel.arrays import Flags

Moves = Sequence[tuple[str, datetime, str | None]]
"""(customer, at, word after), sorted by customer and then by time."""

Moment = datetime | Mapping[str, datetime]
"""One time for all, or each customer's own; customers without one are left out."""

NOT_KNOWN: Final = "(not yet known)"
MONTH_DAYS: Final = 28.0
"""Rates are per four weeks: every weekday is in them equally often."""


def words_at(moves: Moves, at: Moment) -> dict[str, str]:
    """Return each customer's word at a time; customers without one are left out."""
    found: dict[str, str] = {}
    for customer, when, word in moves:
        if _is_by(at, customer, when):
            if word is None:
                found.pop(customer, None)
            else:
                found[customer] = word
    return found


def known_from(moves: Moves) -> datetime | None:
    """Return the end of the UTC day by which half of the customers had their first word.

    None where no customer has one. Before it, movements would mostly show when the service first
    received data on customers.
    """
    first: dict[str, datetime] = {}
    for customer, when, word in moves:
        if word is not None:
            first.setdefault(customer, when)
    if not first:
        return None
    half = sorted(first.values())[(len(first) - 1) // 2]
    return half.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)


def matrix(before: Mapping[str, str], after: Mapping[str, str]) -> dict[tuple[str, str], int]:
    """Count customers by (word before, word after); one without a word counts as `NOT_KNOWN`.

    >>> matrix({"a": "vip", "b": "vip"}, {"a": "vip", "b": "regular", "c": "vip"})
    {('vip', 'vip'): 1, ('vip', 'regular'): 1, ('(not yet known)', 'vip'): 1}
    """
    counts: dict[tuple[str, str], int] = {}
    for customer in [*before, *(name for name in after if name not in before)]:
        pair = before.get(customer, NOT_KNOWN), after.get(customer, NOT_KNOWN)
        counts[pair] = counts.get(pair, 0) + 1
    return counts


def members_at(moves: Iterable[tuple[str, str, datetime, bool]], at: Moment) -> dict[str, set[str]]:
    """Return each segment's customers at a time, from (segment, customer, at, entered) by time."""
    found: dict[str, set[str]] = {}
    for segment, customer, when, entered in moves:
        if _is_by(at, customer, when):
            members = found.setdefault(segment, set())
            (members.add if entered else members.discard)(customer)
    return found


def _is_by(at: Moment, customer: str, when: datetime) -> bool:
    own = at if isinstance(at, datetime) else at.get(customer)
    return own is not None and when <= own


@dataclass(frozen=True, slots=True)
class GroupBehaviour:
    """A group's behaviour in a period. None: no customer to measure it on."""

    customers: int
    frequency: float | None
    """Purchase days per customer and four weeks."""
    churn_rate: float | None
    """Share of the customers who had bought before and bought nothing in the period."""
    satisfaction: float | None
    """Mean survey score in the period, 0-10."""
    response_rate: float | None
    """Share of the customers who were sent a campaign in the period and used one in it."""
    revenue: float | None
    """Amounts less refunds per customer and four weeks, reporting currency."""


def doing(events: EventColumns, group: Flags, start: float, end: float) -> GroupBehaviour:
    """Measure the customers under bool[customers] in [start, end) (Unix seconds UTC).

    `events.row` indexes the mask; events are in order of time.
    """
    n = int(group.sum())
    if not n:
        return GroupBehaviour(0, None, None, None, None, None)
    mine = events.select(group[events.row])
    bought_before = np.unique(mine.row[(mine.kind == Kind.PURCHASE) & (mine.time < start)])
    now = mine.select((mine.time >= start) & (mine.time < end))
    purchase = now.kind == Kind.PURCHASE
    days = len(np.unique(np.stack([now.row, np.floor(now.time / DAY_S)])[:, purchase], axis=1).T)
    months = (end - start) / DAY_S / MONTH_DAYS
    came = np.isin(bought_before, now.row[purchase])
    scores = now.score[now.kind == Kind.SURVEY]
    sent = np.unique(now.row[now.kind == Kind.CAMPAIGN_RECEIVED])
    used = np.isin(sent, now.row[now.kind == Kind.CAMPAIGN_REDEEMED])
    money = np.nansum(now.amount[purchase]) - np.nansum(now.amount[now.kind == Kind.REFUND])
    return GroupBehaviour(
        customers=n,
        frequency=days / n / months,
        churn_rate=None if not len(bought_before) else float(1 - came.mean()),
        satisfaction=None if np.isnan(scores).all() else float(np.nanmean(scores)),
        response_rate=None if not len(sent) else float(used.mean()),
        revenue=float(money) / n / months,
    )
