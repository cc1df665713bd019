"""Decodes a canonical event for the kernel: its kind, channel and category, and its columns.

Streaming, rebuilding and training share this one reading of `Activity`. It never deduplicates
and never reads a customer's state.
"""

import math
from collections.abc import Mapping, Sequence
from datetime import date
from functools import lru_cache
from typing import Final

import numpy as np

from services.scoring.core.features.events import (
    CAMPAIGN_WORDS,
    CHANNEL_WORDS,
    DAY_S,
    LOYALTY_WORDS,
    Channel,
    EventColumns,
    Kind,
)
from services.scoring.core.features.interaction_kinds import class_of
from services.scoring.core.features.stable_hash import stable_hash
from shared.contracts import events as types
from shared.contracts.activity import Activity, ActivityData
from shared.kernel.arrays import Ints

_KIND_BY_TYPE: Final[dict[str, int]] = {
    types.PURCHASE: Kind.PURCHASE,
    types.REFUND: Kind.REFUND,
    types.PROFILE: 0,
    types.IDENTITY: 0,
}
FEEDBACK_WORDS: Final[dict[str, Kind]] = {
    "survey": Kind.SURVEY,
    "complaint_opened": Kind.COMPLAINT_OPENED,
    "complaint_closed": Kind.COMPLAINT_CLOSED,
    "recommendation": Kind.RECOMMENDATION,
    "suggestion": Kind.SUGGESTION,
}
"""Words for the kinds of a feedback event, and for event types in a file of events."""
_KIND_BY_WORD: Final[dict[str, Mapping[str, int]]] = {
    types.FEEDBACK: FEEDBACK_WORDS,
    types.CONTRACT: {"activated": Kind.CONTRACT_ACTIVATED, "ended": Kind.CONTRACT_ENDED},
    types.LOYALTY: LOYALTY_WORDS,
}
SCORED: Final = (Kind.SURVEY, Kind.RECOMMENDATION)
"""Only these kinds break ties of equal times by the key, which costs a hash."""

_EPOCH: Final = date(1970, 1, 1).toordinal()

WORDS_CACHED: Final = 1_024
"""Channel words cached: there are about ten, and some spellings of each."""
CATEGORIES_CACHED: Final = 65_536
"""Category hashes cached, about 10 MB: more than any assortment has categories."""


def kind_of(activity: Activity) -> int:
    """Return the event's `Kind`, 0 if it leaves the state alone; ValueError if it is unknown."""
    kind = _KIND_BY_TYPE.get(activity.type)
    if kind is None and activity.type == types.INTERACTION:
        if refuses_profiling(activity) is not None:
            return 0
        kind = CAMPAIGN_WORDS.get(activity.data.kind or "", Kind.INTERACTION)
    if kind is None:
        kind = _KIND_BY_WORD.get(activity.type, {}).get(activity.data.kind or "")
    if kind is None:
        raise ValueError(f"type {activity.type!r}, kind {activity.data.kind!r}: not known here")
    return kind


def refuses_profiling(activity: Activity) -> bool | None:
    """Return whether the customer refuses to be assessed, or allows it; None: neither."""
    data = activity.data
    if data.profile is not None:
        return data.profile.no_profiling
    if data.channel is None or activity.type != types.INTERACTION:
        return None
    if " ".join(data.channel.lower().split()) != types.PROFILING:
        return None
    return {"unsubscribed": True, "subscribed": False}.get(data.kind or "")


@lru_cache(WORDS_CACHED)
def channel_of(word: str | None) -> int:
    """Return the `Channel` for the contract's free-text word.

    >>> [int(channel_of(word)) for word in ("online", "store", "fax", None)]
    [1, 2, 3, 0]
    """
    return Channel.UNKNOWN if word is None else CHANNEL_WORDS.get(word.lower(), Channel.OTHER)


def channel_or_class(activity: Activity, kind: int) -> int:
    """Return the `Channel` of an event of this `Kind`; of an interaction, its class."""
    if kind == Kind.INTERACTION and activity.data.kind is not None:
        return class_of(activity.data.kind)
    return channel_of(activity.data.channel)


@lru_cache(CATEGORIES_CACHED)
def category_of(word: str | None) -> int:
    """Return the stable hash of a category, 0 for none."""
    return 0 if word is None else stable_hash(word)


def amount_of(data: ActivityData) -> float:
    """Return the amount in reporting currency, or a number of points; NaN for none."""
    if data.amount is not None:
        return data.amount
    return math.nan if data.points is None else data.points


def cost_of(data: ActivityData) -> float:
    """Return the cost in reporting currency, or a balance of points; NaN for none."""
    if data.cost is not None:
        return data.cost
    return math.nan if data.balance is None else data.balance


def until_of(data: ActivityData) -> float:
    """Return the known end of a contract or of expiring points, Unix seconds UTC; NaN for none.

    Points expire with the end of their last day, in UTC: at most fourteen hours off.
    """
    if data.ends_at is not None:
        return data.ends_at.timestamp()
    if data.expires_on is None:
        return math.nan
    return (data.expires_on.toordinal() + 1 - _EPOCH) * DAY_S


def columns_of(
    activities: Sequence[Activity],
    kinds: Sequence[int],
    rows: Sequence[int] | Ints,
    *,
    every_key: bool = False,
) -> EventColumns:
    """Return the columns of events of known kinds (`kind_of`); `rows` are their customers'.

    The key is hashed only where a state reads it, and is 0 elsewhere. `every_key` hashes it for
    every event, for callers that sort by it.
    """
    n = len(activities)
    nan = math.nan
    data = [activity.data for activity in activities]
    return EventColumns(
        row=np.asarray(rows, np.int64),
        kind=np.fromiter(kinds, np.uint8, n),
        time=np.fromiter((a.time.timestamp() for a in activities), np.float64, n),
        amount=np.fromiter(map(amount_of, data), np.float64, n),
        score=np.fromiter((nan if d.score is None else d.score for d in data), np.float64, n),
        key=np.fromiter(
            (
                stable_hash(a.source, a.id) if every_key or kind in SCORED else 0
                for a, kind in zip(activities, kinds, strict=True)
            ),
            np.uint64,
            n,
        ),
        category=np.fromiter((category_of(d.category) for d in data), np.uint64, n),
        cost=np.fromiter(map(cost_of, data), np.float64, n),
        channel=np.fromiter(map(channel_or_class, activities, kinds), np.uint8, n),
        source=np.fromiter((category_of(a.source) for a in activities), np.uint64, n),
        until=np.fromiter((until_of(d) for d in data), np.float64, n),
    )
