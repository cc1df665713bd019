"""The canonical event on `ebbwatch.activity`: what ingest writes, scoring and alerts read.

A structured CloudEvent whose `data` is one flat shape for every type, so that a reader
decodes a whole batch with one compiled decoder and turns fields into columns. It cannot be part
of a cycle, so the garbage collector need not walk the thousands of a batch (`gc=False`).
Record key: the customer id. Control records (tick, backfill ended) have no key and no
subject; ingest writes each of them to every partition.
"""

from datetime import datetime
from typing import Literal

import msgspec

from shared.contracts.events import Profile


class ActivityData(msgspec.Struct, kw_only=True, omit_defaults=True, gc=False):
    """The flat union of every event type's normalised fields."""

    amount: float | None = None
    """Reporting currency, >= 0 (a refund too). None: the source has no amounts."""
    cost: float | None = None
    """Reporting currency."""
    original_amount: str | None = None
    """As it came, with its sign; `currency` is the one it came in."""
    currency: str | None = None
    kind: str | None = None
    """Of an interaction, a feedback or a contract."""
    score: float | None = None
    """0-10, surveys and recommendations."""
    channel: str | None = None
    category: str | None = None
    """Of an interaction; of a purchase, the category with the most items (first on a tie)."""
    items: int | None = None
    """Lines in the basket."""
    order_id: str | None = None
    case_id: str | None = None
    campaign_id: str | None = None
    contract_id: str | None = None
    ends_at: datetime | None = None
    """Of a contract that was activated: when it ends unless renewed, UTC, where that is known."""
    profile: Profile | None = None
    text: str | None = None
    """Of a feedback; of a contract, why it ended."""


class Activity(msgspec.Struct, kw_only=True, omit_defaults=True, gc=False):
    """One canonical event. `time` is UTC, clamped to arrival + 5 min."""

    specversion: Literal["1.0"]
    id: str
    source: str
    type: str
    time: datetime
    subject: str = ""
    """The resolved customer id; empty on control records."""
    originalsubject: str | None = None
    """The id it came with, where that differs."""
    contenthash: str = ""
    """32 hex digits over what the source sent: same id, other content is a dead letter."""
    receivedms: int = 0
    """Unix milliseconds at which the raw record was appended to its topic (wall clock)."""
    backfill: str | None = None
    """The import it belongs to; such an event never leads to a task."""
    data: ActivityData = msgspec.field(default_factory=ActivityData)


DECODER = msgspec.json.Decoder(Activity)
ENCODER = msgspec.json.Encoder()
