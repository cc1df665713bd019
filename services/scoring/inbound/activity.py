"""Turns a batch of activity records into columns: the last place with one object per event.

Cuts each partition after its first tick in a replay, so that customers are assessed at the
tick with exactly the events before it. Never touches state.
"""

import hashlib
import math
from datetime import UTC, datetime

import msgspec

from services.scoring.core.reading import category_of, channel_of, kind_of
from services.scoring.ports import BACKFILL, ENDED, ENDED_MAX, NOW, EventRows, PartitionTurn
from shared.contracts import events as types
from shared.contracts.activity import DECODER, Activity
from shared.contracts.dead_letter import DeadLetter, Origin
from shared.kafka.batch import Batch, Record
from shared.postgres.ledger import TopicPartition
from shared.postgres.outbox import Message

HASH_BYTES = 16

KEY_BYTES_MAX = 2_600
"""Of customer, source and id together, in UTF-8: an entry of the keys' index has room for 2,704
bytes with its headers, and 256 characters of each can take 3,072."""


class ActivityDecoder:
    """Decodes one batch; `replay` chooses where business time comes from."""

    def __init__(self, dead_letter_topic: str, *, replay: bool) -> None:
        self._dead_letter_topic = dead_letter_topic
        self._replay = replay

    def __call__(
        self, batch: Batch, wall: datetime
    ) -> tuple[EventRows, list[PartitionTurn], list[Message]]:
        """Columns of all events, one turn per claimed partition, and dead letters."""
        rows = EventRows()
        dead: list[Message] = []
        turns = [self._partition(tp, batch, wall, rows, dead) for tp in sorted(batch.claims)]
        return rows, turns, dead

    def _partition(
        self,
        tp: TopicPartition,
        batch: Batch,
        wall: datetime,
        rows: EventRows,
        dead: list[Message],
    ) -> PartitionTurn:
        progress = dict(batch.claims[tp].progress)
        records = batch.records.get(tp, [])
        turn = PartitionTurn(tp, len(records), None, progress)
        for index, record in enumerate(records):
            try:
                activity = DECODER.decode(record.value or b"")
                if activity.type == types.TICK:
                    if self._replay and not _was_reached(progress, activity.time):
                        turn.consumed = index + 1
                        turn.tick = True
                        turn.tick_received_ms = activity.receivedms
                        turn.now = activity.time
                        break
                elif activity.type == types.BACKFILL_ENDED:
                    _end_backfill(progress, activity.backfill)
                else:
                    _append(rows, activity, record)
                    if activity.backfill is not None and activity.backfill not in _ended(progress):
                        progress[BACKFILL] = activity.backfill
            except (msgspec.DecodeError, ValueError) as error:
                dead.append(self._dead_letter(record, "value", str(error)))
        if not self._replay:
            turn.now = _live_now(batch, tp, records, progress, wall)
        return turn

    def same_id(self, record: Record) -> Message:
        """The dead letter of an event whose id was used before with other content."""
        reason = "this source used this id before with other content: give each event its own id"
        return self._dead_letter(record, "id", reason)

    def _dead_letter(self, record: Record, field: str, reason: str) -> Message:
        letter = DeadLetter(
            key=record.key,
            value=record.value,
            original_headers=tuple(record.headers),
            origin=Origin(record.topic, record.partition, record.offset),
            stage="scoring",
            field=field,
            reason=reason,
        )
        tp = (record.topic, record.partition)
        return Message(tp, self._dead_letter_topic, letter.key, letter.value, letter.to_headers())


def _check(activity: Activity) -> None:
    """Raises ValueError for what PostgreSQL would refuse with the whole batch."""
    key = (activity.subject, activity.source, activity.id)
    if not activity.subject:
        raise ValueError("subject: an event needs a customer")
    if any("\0" in part for part in key):
        raise ValueError("subject, source, id: none of them may contain a NUL")
    if 4 * sum(map(len, key)) > KEY_BYTES_MAX:
        size = sum(len(part.encode()) for part in key)
        if size > KEY_BYTES_MAX:
            raise ValueError(
                f"subject, source, id: {size} bytes together, at most {KEY_BYTES_MAX}: shorten them"
            )
    if activity.time.tzinfo is None:
        raise ValueError("time: an offset from UTC is missing")


def _append(rows: EventRows, activity: Activity, record: Record) -> None:
    data = activity.data
    kind = kind_of(activity)
    _check(activity)
    if activity.contenthash:
        digest = bytes.fromhex(activity.contenthash)
    else:
        digest = hashlib.blake2b(record.value or b"", digest_size=HASH_BYTES).digest()
    rows.customer.append(activity.subject)
    rows.source.append(activity.source)
    rows.id.append(activity.id)
    rows.content_hash.append(digest)
    rows.type.append(activity.type)
    rows.kind.append(kind)
    rows.time.append(activity.time)
    rows.amount.append(math.nan if data.amount is None else data.amount)
    rows.cost.append(math.nan if data.cost is None else data.cost)
    rows.channel.append(channel_of(data.channel))
    rows.category.append(category_of(data.category))
    rows.score.append(math.nan if data.score is None else data.score)
    rows.original_customer.append(activity.originalsubject or activity.subject)
    rows.received_ms.append(activity.receivedms)
    rows.live.append(activity.backfill is None)
    rows.profile.append(data.profile)
    rows.record.append(record)


def _ended(progress: dict[str, object]) -> list[str]:
    found = progress.get(ENDED)
    return found if isinstance(found, list) else []


def _end_backfill(progress: dict[str, object], named: str | None) -> None:
    """The import that is `named`, else the one under way, is over."""
    under_way = progress.pop(BACKFILL, None)
    ended = named or under_way
    if isinstance(ended, str):
        others = [one for one in _ended(progress) if one != ended]
        progress[ENDED] = [*others, ended][-ENDED_MAX:]


def _was_reached(progress: dict[str, object], at: datetime) -> bool:
    """Whether a tick's time has been before: sent again, or read again, it moves nothing."""
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
    records: list[Record],
    progress: dict[str, object],
    wall: datetime,
) -> datetime | None:
    """Wall clock where the log is read to its end; else when the last record arrived.

    Behind the end, later purchases are still unread: by the wall clock the customer would
    look silent who is not.
    """
    end = batch.ends.get(tp)
    claim = batch.claims[tp]
    position = records[-1].offset + 1 if records else claim.next_offset
    if end is not None and (position or 0) >= end:
        return _advance(progress, wall)
    if records:
        return _advance(progress, datetime.fromtimestamp(records[-1].timestamp / 1000, UTC))
    return None
