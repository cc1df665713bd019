"""Decodes the activity that alerts acts on: purchases, refunds, profiles, feedback, ticks.

Of an id that is part of another customer, the event comes twice: with its own id, and forwarded to
that customer. Its purchases count for both; its other content is kept with its own id, and read
with the customer's.

A backfill's purchases and refunds are history and are skipped; its profiles are kept, since they
describe the customer as of today, and so are its feedback and unsubscriptions.
"""

from datetime import datetime
from typing import Final

import msgspec

from services.alerts.core.consent import spelled
from services.alerts.inbound.dead_letters import dead_letter, nul_free
from services.alerts.ports import (
    ActivitySeen,
    ErasureSeen,
    FeedbackSeen,
    ProfileSeen,
    PurchaseSeen,
    SubscriptionSeen,
)
from shared.contracts import events as types
from shared.contracts.events import ID_LENGTH_MAX, PROFILING, Feedback, Profile, key_fault
from shared.contracts.reading import read
from shared.kafka.batch import Batch, ConsumedRecord
from shared.kernel.errors import Invalid
from shared.kernel.times import in_utc
from shared.postgres.ledger import TopicPartition

SUBSCRIPTIONS: Final = {"unsubscribed": True, "subscribed": False}
"""Kinds of interactions by which a customer ends a subscription to a channel, or returns to it."""


class _Data(msgspec.Struct, gc=False):
    amount: float | None = None
    profile: Profile | None = None
    kind: str | None = None
    score: float | None = None
    text: str | None = None
    channel: str | None = None
    case_id: str | None = None


class _Event(msgspec.Struct, gc=False):
    """The fields of an `activity.Activity` that alerts reads; the rest is not decoded."""

    id: str
    type: str
    time: datetime
    source: str = ""
    subject: str = ""
    originalsubject: str | None = None
    backfill: str | None = None
    data: _Data = msgspec.field(default_factory=_Data)


_DECODER = msgspec.json.Decoder(_Event)


class ActivityDecoder:
    """Decodes a batch of `ebbwatch.activity`."""

    def __init__(self, dead_letter_topic: str) -> None:
        self._dead_letter_topic = dead_letter_topic

    def __call__(self, batch: Batch) -> ActivitySeen:
        """Return the purchases, profiles and ticks of a batch, and dead letters."""
        seen = ActivitySeen([], {}, {}, [])
        for records in batch.records.values():
            for record in records:
                try:
                    _note(seen, record)
                except Invalid as wrong:
                    seen.dead.append(dead_letter(record, self._dead_letter_topic, wrong))
        return seen


def _note(seen: ActivitySeen, record: ConsumedRecord) -> None:
    tp = (record.topic, record.partition)
    event = read(_DECODER, record.value)
    event.time = in_utc("time", event.time)
    if event.type == types.TICK:
        seen.ticks[tp] = max(event.time, seen.ticks.get(tp, event.time))
    elif event.type == types.PURCHASE and event.backfill is None:
        seen.purchases.append((tp, _customer(event), event.time))
        seen.money.append(_money(event, refund=False))
    elif event.type == types.REFUND and event.backfill is None:
        seen.money.append(_money(event, refund=True))
    elif event.type == types.ERASURE:
        customer = _customer(event)
        if not 0 < len(event.id) <= ID_LENGTH_MAX or "\0" in event.id:
            raise Invalid("id", f"must have 1 to {ID_LENGTH_MAX} characters, none of them U+0000")
        seen.drop(customer)
        seen.erasures.append(ErasureSeen(tp, customer, event.id, event.time))
    elif event.originalsubject is not None:
        pass
    elif event.type == types.PROFILE:
        customer = _customer(event)
        if event.data.profile is None:
            raise Invalid("data.profile", "a profile event needs a profile")
        nul_free("data.profile", record.value or b"")
        found = ProfileSeen(event.data.profile, event.time, event.id, event.source)
        seen.all_profiles.append((customer, found))
        if (refuses := event.data.profile.no_profiling) is not None:
            seen.subscriptions.append(_wish(tp, event, PROFILING, ended=refuses))
        _, before = seen.profiles.get(customer, (tp, None))
        if found.replaces(before):
            seen.profiles[customer] = (tp, found.after(before))
    elif event.type == types.FEEDBACK:
        seen.feedback.append(_feedback(event, record))
    elif event.type == types.INTERACTION and event.data.kind in SUBSCRIPTIONS:
        nul_free("data.channel", record.value or b"")
        ended = SUBSCRIPTIONS[event.data.kind]
        seen.subscriptions.append(_wish(tp, event, spelled(event.data.channel), ended=ended))


def _feedback(event: _Event, record: ConsumedRecord) -> FeedbackSeen:
    nul_free("data.text", record.value or b"")
    _must_have_key(event)
    data = event.data
    fields = {"kind": data.kind, "score": data.score, "text": data.text}
    fields |= {"case_id": data.case_id, "channel": data.channel}
    try:
        given = msgspec.convert({k: v for k, v in fields.items() if v is not None}, Feedback)
    except msgspec.ValidationError as wrong:
        raise Invalid("data", str(wrong)) from None
    return FeedbackSeen(
        customer_id=_customer(event),
        source=event.source,
        event_id=event.id,
        at=event.time,
        kind=given.kind,
        score=given.score,
        text=given.text,
        channel=given.channel,
        case_id=given.case_id,
        history=event.backfill is not None,
    )


def _wish(tp: TopicPartition, event: _Event, channel: str, *, ended: bool) -> SubscriptionSeen:
    _must_have_key(event)
    return SubscriptionSeen(
        customer_id=_customer(event),
        channel=channel,
        at=event.time,
        ended=ended,
        reported_by=event.source,
        event_id=event.id,
        tp=tp,
    )


def _must_have_key(event: _Event) -> None:
    """Raise Invalid unless the event's identity fits the key of a table."""
    for field, text in (("id", event.id), ("source", event.source)):
        if len(text) > ID_LENGTH_MAX or "\0" in text:
            raise Invalid(field, f"must have at most {ID_LENGTH_MAX} characters, none U+0000")
    if (why := key_fault(event.subject, event.source, event.id)) is not None:
        raise Invalid("subject, source, id", why)


def _money(event: _Event, *, refund: bool) -> PurchaseSeen:
    _must_have_key(event)
    if "\0" in (event.originalsubject or ""):
        raise Invalid("originalsubject", "must have no U+0000")
    amount = event.data.amount or 0.0
    return PurchaseSeen(
        customer_id=_customer(event),
        source=event.source,
        event_id=event.id,
        at=event.time,
        amount=-amount if refund else amount,
        refund=refund,
        came_with=event.originalsubject,
    )


def _customer(event: _Event) -> str:
    if not 0 < len(event.subject) <= ID_LENGTH_MAX or "\0" in event.subject:
        raise Invalid("subject", f"must have 1 to {ID_LENGTH_MAX} characters, none of them U+0000")
    return event.subject
