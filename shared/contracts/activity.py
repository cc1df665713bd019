"""The canonical event on `ebbwatch.activity`: ingest writes it, scoring and alerts read it.

A structured CloudEvent with one flat shape of `data` for every type, so that a reader decodes a
whole batch with one compiled decoder and turns fields into columns. It cannot be part of a
reference cycle, so the garbage collector need not visit it (`gc=False`). Record key: the customer
id. Control records (tick, backfill ended) have no key and no subject; ingest writes each of them to
every partition.
"""

from datetime import date, datetime
from typing import Literal

import msgspec

from shared.contracts.events import Identity, Profile


class ActivityData(msgspec.Struct, kw_only=True, omit_defaults=True, gc=False):
    """The flat union of every event type's normalised fields."""

    amount: float | None = None
    """Reporting currency, >= 0 (for a refund too). None: the source has no amounts."""
    cost: float | None = None
    """Reporting currency."""
    original_amount: str | None = None
    """The amount as it came, with its sign; `currency` is the one it came in."""
    currency: str | None = None
    kind: str | None = None
    """The kind of an interaction, a feedback, a contract or a loyalty event."""
    score: float | None = None
    """0-10, surveys and recommendations."""
    channel: str | None = None
    category: str | None = None
    """Category of an interaction; of a purchase, the one with the most items (first on a tie)."""
    items: int | None = None
    """Lines in the basket."""
    order_id: str | None = None
    case_id: str | None = None
    campaign_id: str | None = None
    contract_id: str | None = None
    ends_at: datetime | None = None
    """When an activated contract ends unless renewed, UTC; None where that is not known."""
    points: float | None = None
    """Loyalty points earned, spent, expired or about to expire, >= 0."""
    balance: float | None = None
    """Loyalty points in the account after the event."""
    expires_on: date | None = None
    """The last day on which expiring points can be spent."""
    level: str | None = None
    """Loyalty level after a change."""
    level_before: str | None = None
    profile: Profile | None = None
    identity: Identity | None = None
    text: str | None = None
    """Text of a feedback; for a contract, why it ended."""


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
