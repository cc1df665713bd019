"""Decodes a batch of activity records into columns: the last place with one object per event.

In a replay, cuts each partition after its first tick, so that customers are assessed at the tick
with exactly the events before it. Never accesses states.
"""

import hashlib
import math
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import islice

from services.scoring.core import imports
from services.scoring.core.features.decode import (
    amount_of,
    category_of,
    channel_or_class,
    cost_of,
    kind_of,
    refuses_profiling,
    until_of,
)
from services.scoring.core.features.events import Kind
from services.scoring.core.monitoring.source_outage import observe
from services.scoring.inbound.dead_letter import dead_letter
from services.scoring.ports import (
    NOW,
    SOURCES,
    EventRows,
    PartitionBatch,
    sources_of,
)
from shared.contracts import events as types
from shared.contracts.activity import DECODER, Activity
from shared.contracts.events import KEY_BYTES_MAX, Identity, key_fault
from shared.contracts.reading import read
from shared.kafka.batch import Batch, ConsumedRecord
from shared.kernel.errors import UNREADABLE, Invalid
from shared.kernel.times import EARLIEST, LATEST, in_utc
from shared.postgres.ledger import TopicPartition
from shared.postgres.outbox import Message

HASH_BYTES = 16

_ERASURE = types.ERASURE.encode()

RECEIVED_MS_MAX = int(LATEST.timestamp() * 1_000)
"""Latest time that is accepted, Unix ms."""


class ActivityDecoder:
    """Decodes batches; with `replay`, business time comes from ticks, else from the clock."""

    def __init__(self, dead_letter_topic: str, *, replay: bool) -> None:
        self._dead_letter_topic = dead_letter_topic
        self._replay = replay

    def __call__(self, batch: Batch, wall: datetime) -> tuple[EventRows, list[PartitionBatch]]:
        """Returns the columns of all events, and the part of every claimed partition."""
        rows = EventRows()
        return rows, [self._partition(tp, batch, wall, rows) for tp in sorted(batch.claims)]

    def _partition(
        self, tp: TopicPartition, batch: Batch, wall: datetime, rows: EventRows
    ) -> PartitionBatch:
        """Consumes the partition's records up to the first tick that moves its time.

        Stops before an erasure, which is processed in a batch without events."""
        records, events = batch.records.get(tp, []), EventRows()
        part = PartitionBatch(tp, 0, None, dict(batch.claims[tp].progress))
        while part.consumed < len(records) and not part.tick:
            at = part.consumed
            run = _run(records, at)
            end = at + len(run)
            if not _append_all(events, run, records[at:end], part.progress):
                for index in range(at, end):
                    self._append(records[index], part, events)
            if end < len(records) and erasure_of(records[end]) is not None:
                part.consumed = end  # the next batch begins with it
                break
            if end < len(records):
                self._append(records[end], part, events)
            part.consumed = min(end + 1, len(records))
        _note_deliveries(part.progress, events)
        rows.extend(events)
        if not self._replay:
            part.now = _live_now(batch, tp, records, part.progress, wall)
        return part

    def _append(self, record: ConsumedRecord, part: PartitionBatch, rows: EventRows) -> None:
        """Handles a single record: a control record, or one of a run with a faulty record."""
        progress = part.progress
        try:
            activity = read(DECODER, record.value)
            activity.time = in_utc("time", activity.time)
            if activity.type == types.TICK:
                if self._replay and not _was_reached(progress, activity.time):
                    part.tick = True
                    part.tick_received_ms = activity.receivedms
                    part.now = activity.time
            elif activity.type == types.BACKFILL_ENDED:
                imports.end(progress, activity.backfill)
            else:
                _check(activity)
                rows.extend(_columns([activity], [record]))
                _note_backfills(progress, [activity])
        except Invalid as wrong:
            part.dead.append(self.dead_letter(record, wrong.field, wrong.reason))
        except ValueError as error:
            part.dead.append(self.dead_letter(record, "value", str(error)))

    def same_id(self, record: ConsumedRecord) -> Message:
        """Returns the dead letter of an event that reuses an id with other content."""
        reason = "this source used this id before with other content: give each event its own id"
        return self.dead_letter(record, "id", reason)

    def dead_letter(self, record: ConsumedRecord, field: str, reason: str) -> Message:
        """Returns a record as a dead letter."""
        return dead_letter(self._dead_letter_topic, record, field, reason)


def erasure_of(record: ConsumedRecord) -> Activity | None:
    """Returns the erasure that a record requests; None for any other record."""
    if _ERASURE not in (record.value or b""):
        return None
    try:
        found = read(DECODER, record.value)
        found.time = in_utc("time", found.time)
        if found.type != types.ERASURE:
            return None
        _check(found)
    except (Invalid, ValueError):
        return None  # unreadable: it becomes a dead letter like any other
    return found


def _check(activity: Activity) -> None:
    """Raises ValueError for values that would make PostgreSQL refuse the whole batch."""
    subject, source, name = activity.subject, activity.source, activity.id
    if not subject:
        raise ValueError("subject: an event needs a customer")
    if "\0" in subject or "\0" in source or "\0" in name:
        raise ValueError("subject, source, id: none of them may contain a NUL")
    if (why := key_fault(subject, source, name)) is not None:
        raise ValueError(f"subject, source, id: {why}")
    if not 0 <= activity.receivedms <= RECEIVED_MS_MAX:
        raise ValueError(f"receivedms: must be 0 to {RECEIVED_MS_MAX}")
    if activity.contenthash:
        bytes.fromhex(activity.contenthash)
    if (identity := activity.data.identity) is not None:
        _check_ids(identity)


def _check_ids(identity: Identity) -> None:
    """Raises ValueError for an id that could be no customer's key."""
    for name in (*identity.ids, *([] if identity.primary is None else [identity.primary])):
        if "\0" in name:
            raise ValueError("data.identity: an id may not contain a NUL")
        if (why := key_fault(name, "", "")) is not None:
            raise ValueError(f"data.identity: {why}")


def _run(records: Sequence[ConsumedRecord], begin: int) -> list[Activity]:
    """Decodes records from `begin` up to the first control record or unreadable record."""
    run: list[Activity] = []
    try:
        for record in islice(records, begin, None):
            activity = DECODER.decode(record.value or b"")
            if activity.type in types.SINGLE_TYPES:
                break
            run.append(activity)
    except UNREADABLE:
        pass  # `_append` reads this record again and reports why
    return run


def _append_all(
    rows: EventRows,
    activities: Sequence[Activity],
    records: Sequence[ConsumedRecord],
    progress: dict[str, object],
) -> bool:
    """Appends a run as whole columns, the case of nearly every batch.

    Appends nothing and returns False where one of the records must be checked by itself."""
    try:
        found = _columns(activities, records)
    except ValueError:
        return False
    if not _fine(found):
        return False
    rows.extend(found)
    _note_backfills(progress, activities)
    return True


def _note_backfills(progress: dict[str, object], activities: Sequence[Activity]) -> None:
    """Notes the last import that these events belong to as under way, unless it has ended."""
    imports.note(
        progress, ((a.backfill, a.receivedms) for a in activities if a.backfill is not None)
    )


def _note_deliveries(progress: dict[str, object], events: EventRows) -> None:
    """Updates the usual deliveries of each source, from live purchases only (no imports)."""
    purchases = [
        (source, at.timestamp())
        for source, kind, at, live in zip(
            events.source, events.kind, events.time, events.live, strict=True
        )
        if live and kind == Kind.PURCHASE
    ]
    if purchases:
        progress[SOURCES] = observe(sources_of(progress), purchases)


def _fine(rows: EventRows) -> bool:
    """Returns whether `_check` is sure to pass every row; checks whole columns at once."""
    sizes = map(sum, zip(*(map(len, names) for names in (rows.customer, rows.source, rows.id)),
                         strict=True))  # fmt: skip
    return (
        all(rows.customer)
        and not any("\0" in "".join(names) for names in (rows.customer, rows.source, rows.id))
        and 4 * max(sizes, default=0) <= KEY_BYTES_MAX
        and {time.tzinfo for time in rows.time} <= {UTC}
        and all(EARLIEST <= time <= LATEST for time in rows.time)
        and all(0 <= at <= RECEIVED_MS_MAX for at in rows.received_ms)
        and not any(rows.identity)
    )


def _columns(activities: Sequence[Activity], records: Sequence[ConsumedRecord]) -> EventRows:
    """Returns the events as columns. Raises ValueError for an invalid kind or content hash."""
    data = [activity.data for activity in activities]
    kinds = [kind_of(activity) for activity in activities]
    return EventRows(
        customer=[a.subject for a in activities],
        source=[a.source for a in activities],
        id=[a.id for a in activities],
        content_hash=[
            bytes.fromhex(a.contenthash) if a.contenthash else _digest(record)
            for a, record in zip(activities, records, strict=True)
        ],
        type=[a.type for a in activities],
        kind=kinds,
        time=[a.time for a in activities],
        amount=[amount_of(d) for d in data],
        cost=[cost_of(d) for d in data],
        channel=list(map(channel_or_class, activities, kinds)),
        category=[category_of(d.category) for d in data],
        score=[math.nan if d.score is None else d.score for d in data],
        until=[until_of(d) for d in data],
        original_customer=[a.originalsubject or a.subject for a in activities],
        received_ms=[a.receivedms for a in activities],
        live=[a.backfill is None for a in activities],
        profile=[d.profile for d in data],
        identity=[d.identity for d in data],
        refuses=[refuses_profiling(a) for a in activities],
        record=list(records),
    )


def _digest(record: ConsumedRecord) -> bytes:
    return hashlib.blake2b(record.value or b"", digest_size=HASH_BYTES).digest()


def _was_reached(progress: dict[str, object], at: datetime) -> bool:
    """Returns whether a tick's time was reached before: a repeated tick has no effect."""
    before = progress.get(NOW)
    return isinstance(before, float) and at.timestamp() <= before


def _advance(progress: dict[str, object], to: datetime) -> datetime:
    before = progress.get(NOW)
    seconds = to.timestamp()
    if isinstance(before, float):
        seconds = max(before, seconds)
    progress[NOW] = seconds
    return datetime.fromtimestamp(seconds, UTC)


def _live_now(
    batch: Batch,
    tp: TopicPartition,
    records: list[ConsumedRecord],
    progress: dict[str, object],
    wall: datetime,
) -> datetime | None:
    """Returns the time for assessments: the wall clock where the log is read to its end.

    Otherwise the arrival time of the last record, as far as its timestamp is plausible: later
    purchases are still unread, and by the wall clock their customers would seem silent. None
    without such a record.
    """
    end = batch.ends.get(tp)
    claim = batch.claims[tp]
    position = records[-1].offset + 1 if records else claim.next_offset
    if end is not None and (position or 0) >= end:
        return _advance(progress, wall)
    if records and records[-1].timestamp > 0:  # another writer's timestamp may be anything
        arrived_s = min(records[-1].timestamp / 1000, wall.timestamp())
        return _advance(progress, datetime.fromtimestamp(arrived_s, UTC))
    return None
