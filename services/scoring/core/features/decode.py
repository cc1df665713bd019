"""What a canonical event means to the kernel: its kind, channel and category, and its columns.

What it is for: the one reading of `Activity` that streaming, rebuilding and training share. It
never deduplicates and never looks at a customer.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.scoring.core.features.events import (
    CAMPAIGN_WORDS,
    CHANNEL_WORDS,
    Channel,
    EventColumns,
    Kind,
)
from services.scoring.core.features.stable_hash import stable_hash
from shared.contracts import events as types
from shared.contracts.activity import Activity, ActivityData

_KIND_BY_TYPE: Final[dict[str, int]] = {
    types.PURCHASE: Kind.PURCHASE,
    types.REFUND: Kind.REFUND,
    types.PROFILE: 0,
}
FEEDBACK_WORDS: Final[dict[str, Kind]] = {
    "survey": Kind.SURVEY,
    "complaint_opened": Kind.COMPLAINT_OPENED,
    "complaint_closed": Kind.COMPLAINT_CLOSED,
    "recommendation": Kind.RECOMMENDATION,
    "suggestion": Kind.SUGGESTION,
}
"""Kinds of a feedback event, and event types in a file of events."""
_KIND_BY_CONTRACT: Final[dict[str, int]] = {
    "activated": Kind.CONTRACT_ACTIVATED,
    "ended": Kind.CONTRACT_ENDED,
}
SCORED: Final = (Kind.SURVEY, Kind.RECOMMENDATION)
"""Only their equal times are settled by the key, which costs a hash."""

WORDS_CACHED: Final = 1_024
"""Channels' words kept: there are about ten, and spellings of them."""
CATEGORIES_CACHED: Final = 65_536
"""Category hashes kept, about 10 MB: more than any assortment has categories."""


def kind_of(activity: Activity) -> int:
    """The event's `Kind`, 0 where it leaves the state alone; ValueError for an unknown one."""
    kind = _KIND_BY_TYPE.get(activity.type)
    if kind is None and activity.type == types.INTERACTION:
        kind = CAMPAIGN_WORDS.get(activity.data.kind or "", Kind.INTERACTION)
    if kind is None and activity.type == types.FEEDBACK:
        kind = FEEDBACK_WORDS.get(activity.data.kind or "")
    if kind is None and activity.type == types.CONTRACT:
        kind = _KIND_BY_CONTRACT.get(activity.data.kind or "")
    if kind is None:
        raise ValueError(f"type {activity.type!r}, kind {activity.data.kind!r}: not known here")
    return kind


@lru_cache(WORDS_CACHED)
def channel_of(word: str | None) -> int:
    """The `Channel` of the contract's free word.

    >>> [int(channel_of(word)) for word in ("online", "store", "fax", None)]
    [1, 2, 3, 0]
    """
    return Channel.UNKNOWN if word is None else CHANNEL_WORDS.get(word.lower(), Channel.OTHER)


@lru_cache(CATEGORIES_CACHED)
def category_of(word: str | None) -> int:
    """The stable hash of a category, 0 for none."""
    return 0 if word is None else stable_hash(word)


def until_of(data: ActivityData) -> float:
    """The known end of a contract, Unix seconds UTC; NaN for none."""
    return math.nan if data.ends_at is None else data.ends_at.timestamp()


def columns_of(
    activities: Sequence[Activity],
    kinds: Sequence[int],
    rows: Sequence[int] | NDArray[np.int64],
    *,
    every_key: bool = False,
) -> EventColumns:
    """Columns of events whose kinds (`kind_of`) are known; `rows` are their customers'.

    The key is hashed where a state reads it, else 0; with `every_key` it always is, for who
    sorts by it.
    """
    n = len(activities)
    nan = math.nan
    data = [activity.data for activity in activities]
    return EventColumns(
        row=np.asarray(rows, np.int64),
        kind=np.fromiter(kinds, np.uint8, n),
        time=np.fromiter((a.time.timestamp() for a in activities), np.float64, n),
        amount=np.fromiter((nan if d.amount is None else d.amount for d in data), np.float64, n),
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
        cost=np.fromiter((nan if d.cost is None else d.cost for d in data), np.float64, n),
        channel=np.fromiter((channel_of(d.channel) for d in data), np.uint8, n),
        source=np.fromiter((category_of(a.source) for a in activities), np.uint64, n),
        until=np.fromiter((until_of(d) for d in data), np.float64, n),
    )
