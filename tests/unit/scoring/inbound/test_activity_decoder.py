"""From records to columns: what is read of an event, and what is refused."""

import math
from datetime import UTC, datetime

import pytest

from services.scoring.core.features.events import Channel, Kind
from services.scoring.core.features.interaction_kinds import class_of
from services.scoring.inbound.activity import ActivityDecoder
from services.scoring.ports import NOW, EventRows, PartitionBatch
from shared.contracts import events as types
from shared.contracts.activity import ActivityData
from shared.contracts.dead_letter import DeadLetter
from shared.kafka.batch import Batch
from shared.postgres.ledger import Claim
from shared.postgres.outbox import Message
from tests.fakes import activity
from tests.fakes.activity import day
from tests.fakes.log import ARRIVED_MS, MemoryLog
from tests.fakes.scoring_worker import DEAD, TOPIC

ARRIVED = datetime.fromtimestamp(ARRIVED_MS / 1000, UTC)
WALL = day(100)


def decode(
    log: MemoryLog, *, replay: bool = False, claims: list[Claim] | None = None
) -> tuple[EventRows, list[PartitionBatch], list[Message]]:
    """Decode everything in the log, as one batch."""
    owned = claims or [Claim(*tp, 1, None, None) for tp in sorted(log.records)]
    rows, parts = ActivityDecoder(DEAD, replay=replay)(log.batch(owned, 1_000), WALL)
    return rows, parts, [letter for part in parts for letter in part.dead]


def one(value: bytes) -> EventRows:
    """Return a log of one record, which must be accepted."""
    log = MemoryLog(TOPIC)
    log.append(0, value, key=b"ann")
    rows, _, dead = decode(log)
    assert dead == []
    assert len(rows) == 1
    return rows


@pytest.mark.parametrize(
    ("kind", "word", "expected"),
    [
        (types.PURCHASE, None, Kind.PURCHASE),
        (types.REFUND, None, Kind.REFUND),
        (types.INTERACTION, "page_viewed", Kind.INTERACTION),
        (types.INTERACTION, "campaign_received", Kind.CAMPAIGN_RECEIVED),
        (types.INTERACTION, "coupon_redeemed", Kind.CAMPAIGN_REDEEMED),
        (types.FEEDBACK, "survey", Kind.SURVEY),
        (types.FEEDBACK, "complaint_opened", Kind.COMPLAINT_OPENED),
        (types.FEEDBACK, "complaint_closed", Kind.COMPLAINT_CLOSED),
        (types.FEEDBACK, "recommendation", Kind.RECOMMENDATION),
        (types.FEEDBACK, "suggestion", Kind.SUGGESTION),
        (types.CONTRACT, "activated", Kind.CONTRACT_ACTIVATED),
        (types.CONTRACT, "ended", Kind.CONTRACT_ENDED),
        (types.PROFILE, None, 0),
    ],
)
def test_every_type_has_its_kind(kind: str, word: str | None, expected: int) -> None:
    """Each kind of the contract has its place in the state."""
    rows = one(activity.event("e", "ann", day(0), kind=kind, data=ActivityData(kind=word)))
    assert rows.kind == [expected]
    assert rows.type == [kind]


def test_an_interaction_has_the_class_of_its_kind_where_a_purchase_has_its_channel() -> None:
    """A campaign has its own kinds, and no class."""
    bought = one(activity.event("e", "ann", day(0), data=ActivityData(channel="store")))
    assert bought.channel == [Channel.OFFLINE]
    for word, expected in (("page_viewed", class_of("page_viewed")), ("coupon_redeemed", 0)):
        data = ActivityData(kind=word)
        assert one(
            activity.event("e", "ann", day(0), kind=types.INTERACTION, data=data)
        ).channel == [expected]


def test_each_field_has_its_column() -> None:
    """Each field in its column; absent numbers are NaN."""
    rows = one(activity.event("e", "ann", day(0.5), data=ActivityData(amount=12.5)))
    assert (rows.customer, rows.source, rows.id) == (["ann"], [activity.SOURCE], ["e"])
    assert (rows.time, rows.amount) == ([day(0.5)], [12.5])
    assert math.isnan(rows.score[0])
    assert (rows.live, rows.received_ms) == ([True], [activity.RECEIVED_MS])
    assert rows.original_customer == ["ann"]
    assert len(rows.content_hash[0]) == 16
    imported = one(activity.event("e", "ann", day(0.5), backfill="x", data=ActivityData()))
    assert math.isnan(imported.amount[0])
    assert imported.live == [False]


def test_a_merged_customer_keeps_the_id_that_came() -> None:
    """So a merge can be undone."""
    value = activity.event("e", "ann", day(0)).replace(
        b'"contenthash"', b'"originalsubject":"ann-of-the-shop","contenthash"'
    )
    rows = one(value)
    assert (rows.customer, rows.original_customer) == (["ann"], ["ann-of-the-shop"])


def test_a_content_hash_is_made_where_none_came() -> None:
    """The hash is of the bytes: equal bytes have equal hashes, others do not."""

    def bare(amount: float) -> bytes:
        value = activity.event("e", "ann", day(0), data=ActivityData(amount=amount))
        head, _, rest = value.partition(b'"contenthash":"')
        return head + rest[34:]

    first, again, other = (one(bare(amount)).content_hash[0] for amount in (1.0, 1.0, 2.0))
    assert first == again != other


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"{",
        b"[]",
        b"\xff\xfe",
        activity.event("e", "", day(0)),
        activity.event("e", "ann", day(0), kind="io.ebbwatch.unknown"),
        activity.feedback("e", "ann", day(0), "shouted"),
        activity.event("e", "ann", day(0)).replace(b'"contenthash":"', b'"contenthash":"z'),
        activity.event("e", "ann", day(0)).replace(b'"time":"2026', b'"time":"once'),
        activity.event("e", "ann", day(0)).replace(b"12:00:00Z", b"12:00:00"),
        activity.event("e", "an\0n", day(0)),
        activity.event("e\0", "ann", day(0)),
        activity.event("e", "ann", day(0), source="a\0till"),
        activity.event("𠮷" * 217, "𠮷" * 217, day(0), source="𠮷" * 217),
    ],
)
def test_what_cannot_be_read_is_parked(value: bytes | None) -> None:
    """Each makes one dead letter with the record whole; its neighbours are read."""
    log = MemoryLog(TOPIC)
    headers = (("traceparent", b"00"),)
    log.append(1, activity.event("before", "ann", day(0)))
    log.append(1, value, key=b"k", headers=headers)
    log.append(1, activity.event("after", "ann", day(0)))
    rows, [turn], [message] = decode(log)
    assert rows.id == ["before", "after"]
    assert turn.consumed == 3
    assert message.topic == DEAD
    letter = DeadLetter.from_record(message.key, message.value, message.headers)
    assert (letter.key, letter.value, letter.original_headers) == (b"k", value, headers)
    assert (letter.stage, letter.origin.offset) == ("scoring", 1)
    assert letter.reason


def test_live_business_time_is_the_wall_clock_at_the_end_of_the_log() -> None:
    """The wall clock at the end of the log, the last arrival before it.

    There is none where nothing was read before.
    """
    log = MemoryLog(TOPIC)
    log.append(0, activity.event("e", "ann", day(0)))
    _, [turn], _ = decode(log)
    assert turn.now == WALL
    behind = Batch({(TOPIC, 0): Claim(TOPIC, 0, 1, None, None)}, dict(log.records), {(TOPIC, 0): 2})
    _, [turn] = ActivityDecoder(DEAD, replay=False)(behind, WALL)
    assert turn.now == ARRIVED
    unknown = Batch(behind.claims, behind.records, {})
    _, [turn] = ActivityDecoder(DEAD, replay=False)(unknown, WALL)
    assert turn.now == ARRIVED
    idle = Batch({(TOPIC, 0): Claim(TOPIC, 0, 1, 1, None)}, {}, {(TOPIC, 0): 2})
    _, [turn] = ActivityDecoder(DEAD, replay=False)(idle, WALL)
    assert (turn.now, turn.sweeping) == (None, False)
    idle = Batch({(TOPIC, 0): Claim(TOPIC, 0, 1, 2, None)}, {}, {(TOPIC, 0): 2})
    _, [turn] = ActivityDecoder(DEAD, replay=False)(idle, WALL)
    assert (turn.now, turn.sweeping) == (WALL, True)


@pytest.mark.parametrize(
    ("timestamp", "expected"),
    [(-(10**15), None), (-(2**62), None), (-1, None), (0, None), (10**17, WALL), (2**62, WALL)],
)
def test_live_time_believes_no_impossible_arrival(
    timestamp: int, expected: datetime | None
) -> None:
    """A record's timestamp is its sender's claim.

    It moves the time neither out of the calendar nor beyond the wall clock.
    """
    log = MemoryLog(TOPIC)
    for name in ("a", "b"):
        log.append(0, activity.event(name, "ann", day(0)), timestamp=timestamp)
    claim = Claim(TOPIC, 0, 1, None, None)
    _, parts = ActivityDecoder(DEAD, replay=False)(log.batch([claim], 1), WALL)
    assert parts[0].now == expected


def test_an_empty_log_is_at_its_end() -> None:
    """Nothing was ever written: time is the wall clock."""
    empty = Batch({(TOPIC, 0): Claim(TOPIC, 0, 1, None, None)}, {}, {(TOPIC, 0): 0})
    _, [turn] = ActivityDecoder(DEAD, replay=False)(empty, WALL)
    assert turn.now == WALL


@pytest.mark.parametrize("replay", [False, True])
def test_progress_of_a_claim_is_not_changed_in_place(*, replay: bool) -> None:
    """A refused batch must leave what was committed unchanged."""
    log = MemoryLog(TOPIC)
    log.append(0, activity.event("e", "ann", day(0), backfill="x"))
    log.append(0, activity.ended(day(1)))
    log.append(0, activity.tick(day(2)))
    before: dict[str, object] = {NOW: 5.0, "backfill": "y", "ended": ["a"]}
    claim = Claim(TOPIC, 0, 1, None, None, dict(before))
    decode(log, replay=replay, claims=[claim])
    assert claim.progress == before
