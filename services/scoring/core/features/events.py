"""The columns that the fold reads: a batch of events as a struct of arrays.

Streaming, replay, training and backfill all pass events to the kernel in this shape. It never
decodes a message, looks up a customer or deduplicates: `row` is already an index into the
states, and every event is already known to be new.
"""

from dataclasses import dataclass, fields
from enum import IntEnum
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from shared.kernel.arrays import Flags, Floats, Ints

DAY_S: Final = 86_400.0
"""Seconds in a UTC day; Unix time has no leap seconds."""


class Kind(IntEnum):
    """What happened. The values are not stored; their order is that of `counts` in the state."""

    PURCHASE = 1
    REFUND = 2
    INTERACTION = 3
    COMPLAINT_OPENED = 4
    COMPLAINT_CLOSED = 5
    SURVEY = 6
    RECOMMENDATION = 7
    SUGGESTION = 8
    CAMPAIGN_RECEIVED = 9
    """An act of the company, not of the customer: no interaction."""
    CAMPAIGN_REDEEMED = 10
    """The customer's response to a campaign; it is an interaction as well."""
    CONTRACT_ACTIVATED = 11
    """A contract runs from now on: a new one, a renewal or a resumed one."""
    CONTRACT_ENDED = 12
    """The contract was cancelled or expired: the customer has no running contract."""
    POINTS_EARNED = 13
    POINTS_SPENT = 14
    POINTS_EXPIRED = 15
    POINTS_EXPIRING = 16
    """A report of the loyalty programme: so many points will expire unless they are spent."""
    LEVEL_RAISED = 17
    LEVEL_LOWERED = 18
    REFERRAL = 19
    """The customer brought another one."""


ABOUT_POINTS: Final = (
    Kind.POINTS_EARNED,
    Kind.POINTS_SPENT,
    Kind.POINTS_EXPIRED,
    Kind.POINTS_EXPIRING,
)
"""The kinds with a number of points, or a balance."""

ENGAGED: Final = (Kind.INTERACTION, Kind.CAMPAIGN_REDEEMED)
"""The kinds that count as an interaction: acts of the customer."""

CAMPAIGN_WORDS: Final = {
    "campaign_received": Kind.CAMPAIGN_RECEIVED,
    "campaign_sent": Kind.CAMPAIGN_RECEIVED,
    "coupon_received": Kind.CAMPAIGN_RECEIVED,
    "campaign_redeemed": Kind.CAMPAIGN_REDEEMED,
    "coupon_redeemed": Kind.CAMPAIGN_REDEEMED,
    "offer_redeemed": Kind.CAMPAIGN_REDEEMED,
}
"""The kinds of an interaction event about marketing; every other word is `INTERACTION`."""

CONTRACT_WORDS: Final = {
    "contract_activated": Kind.CONTRACT_ACTIVATED,
    "contract_ended": Kind.CONTRACT_ENDED,
}
"""Event types of contracts in a file of events."""

LOYALTY_WORDS: Final = {
    "points_earned": Kind.POINTS_EARNED,
    "points_spent": Kind.POINTS_SPENT,
    "points_expired": Kind.POINTS_EXPIRED,
    "points_expiring": Kind.POINTS_EXPIRING,
    "level_raised": Kind.LEVEL_RAISED,
    "level_lowered": Kind.LEVEL_LOWERED,
    "referral": Kind.REFERRAL,
}
"""Words for the kinds of a loyalty event, and for event types in a file of events."""


class Channel(IntEnum):
    """Where a purchase was made, as far as the source's word shows it."""

    UNKNOWN = 0
    ONLINE = 1
    OFFLINE = 2
    OTHER = 3


CHANNEL_WORDS: Final = {
    **dict.fromkeys(
        ("online", "web", "app", "mobile", "email", "wecom", "wechat", "mini_program"),
        Channel.ONLINE,
    ),
    **dict.fromkeys(("offline", "store", "shop", "branch", "field_sales"), Channel.OFFLINE),
}
"""The usual words of the contract's `channel`. Other words are `OTHER`, no word is `UNKNOWN`."""


@dataclass(frozen=True, slots=True)
class EventColumns:
    """A batch of events in any order; all columns have one length."""

    row: Ints
    """Index of the customer in the state array."""
    kind: NDArray[np.uint8]
    """`Kind`."""
    time: Floats
    """Unix seconds, UTC; finite."""
    amount: Floats
    """Reporting currency, of an event about points their number; NaN where absent; a refund is
    positive."""
    score: Floats
    """0-10; NaN where absent."""
    key: NDArray[np.uint64]
    """Stable 64-bit hash of (source, id): settles ties between equal times, nothing else."""
    category: NDArray[np.uint64]
    """Stable hash of the category word, 0 = none."""
    cost: Floats
    """Cost of a purchase, reporting currency; of an event about points the balance after it; NaN
    where absent."""
    channel: NDArray[np.uint8]
    """`Channel` of a purchase; of an interaction its class (`interaction_kinds.class_of`)."""
    source: NDArray[np.uint64] = None  # type: ignore[assignment] # filled below
    """Stable hash of a purchase's source, 0 = unknown; all 0 unless given."""
    until: Floats = None  # type: ignore[assignment] # filled below
    """Known end of an activated contract, or of expiring points, Unix seconds UTC, NaN = unknown;
    all NaN unless given."""

    def __post_init__(self) -> None:
        """Fill the columns that a history does not have."""
        if self.source is None:
            object.__setattr__(self, "source", np.zeros(len(self.row), np.uint64))
        if self.until is None:
            object.__setattr__(self, "until", np.full(len(self.row), np.nan))

    def __len__(self) -> int:
        """Number of events."""
        return len(self.row)

    def select(self, which: Flags | Ints) -> Self:
        """Return the events under a mask, or at indices in their order, as copies."""
        return type(self)(*(getattr(self, field.name)[which] for field in fields(self)))
