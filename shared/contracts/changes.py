"""`ebbwatch.changes`: changes of customers' classifications, keyed by customer id. Not compacted.

Scoring writes them through its outbox in the transaction that stores the new classification, so
that no change is lost. They are sent again after a crash, so readers drop what they know: for one
customer `sequence` grows with every change, and a `sequence` that is not above the last one seen is
a repetition. A reader that acts on an entry stores that number with the action's effect, and the
action happens exactly once.
"""

from datetime import datetime
from typing import Literal

import msgspec

IdentityKind = Literal["customer_merged", "customer_unmerged"]
ChangeKind = Literal[
    "segment_entered",
    "segment_left",
    "grade_changed",
    "tier_changed",
    "behaviour_changed",
    "lifecycle_changed",
    "customer_merged",
    "customer_unmerged",
]


class CustomerChanged(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """One change of one customer."""

    customer_id: str
    sequence: int
    """Per customer, from 1; a first grade, tier or state takes a number and is not published.
    0 of `customer_merged` and `customer_unmerged`: repeating the last of these changes nothing."""
    kind: ChangeKind
    at: datetime
    """Business time, UTC: wall clock when live, the tick in a replay."""
    before: str | None = None
    """The earlier grade, tier, behaviour state or lifecycle state."""
    after: str | None = None
    """None: the data no longer support one."""
    segment: str | None = None
    """Id of the segment that was entered or left."""
    segment_version: int | None = None
    """The version of the definition that was applied."""
    action: str | None = None
    """On entry: the playbook that the segment's definition names."""
    primary_id: str | None = None
    """The customer that this one is part of from now on (merged), or is no longer (unmerged)."""
    contact: bool = False
    """Merged: as a contact of the account `primary_id`, whose profile stays the account's."""
    silent: bool = False
    """True: not news, so nothing is to be done about it. It is the first assessment after a
    backfill, or a saved definition that finds customers already inside and was saved without
    acting on them."""


ENCODER = msgspec.json.Encoder()
DECODER = msgspec.json.Decoder(CustomerChanged)
