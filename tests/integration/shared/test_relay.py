"""The relay sends what a transaction stored, after its commit and in order, despite failures."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from shared.contracts.topics import RAW_MESSAGE_BYTES_MAX
from shared.kafka.producer import Producer, Record
from shared.kafka.relay import Relay
from shared.kernel.errors import Transient
from shared.postgres.engine import UnitOfWork, unit_of_work
from shared.postgres.ledger import Claim, Ledger
from shared.postgres.outbox import Message, Outbox, Pending, unpack
from tests.integration.shared.environment import BrokerEnvironment
from tests.integration.shared.tables import SCHEMA

pytestmark = pytest.mark.stack

CAUSE, OTHER = ("caused-by", 0), ("caused-by", 1)
DATABASE = Outbox(SCHEMA)


class Recording(Producer):
    """A producer that keeps its messages, and can fail before or after sending them."""

    def __init__(self) -> None:
        self.sent: list[Record] = []
        self.fails_before = False
        self.fails_after = False

    async def send(self, records: Iterable[Record]) -> None:
        """Keep the messages; fail once if the test asks for it."""
        if self.fails_before:
            self.fails_before = False
            raise Transient("Kafka is not there")
        self.sent += records
        if self.fails_after:
            self.fails_after = False
            raise Transient("nobody knows whether it arrived")

    async def close(self) -> None:
        """Do nothing."""

    @property
    def values(self) -> list[str]:
        """Return what was sent, in order."""
        return [(record.value or b"").decode() for record in self.sent]


@pytest.fixture
def producer() -> Recording:
    """Provide the producer."""
    return Recording()


@pytest.fixture
async def relay(engine: AsyncEngine, producer: Recording) -> AsyncIterator[Relay]:
    """Provide the relay of one worker."""
    made = Relay(engine, DATABASE, producer)
    yield made
    await made.close()


def messages(*values: str, tp: tuple[str, int] = CAUSE) -> list[Message]:
    """Return one message for each value."""
    return [Message(tp, "risk", b"k", v.encode(), (("h", b"\xff\0"),)) for v in values]


async def commit(engine: AsyncEngine, relay: Relay, found: Sequence[Message]) -> list[Pending]:
    """Run a batch's transaction, up to its COMMIT."""
    async with unit_of_work(engine) as work:
        await relay.forget(work)
        return await DATABASE.add(work, found)


async def left(engine: AsyncEngine) -> list[str]:
    """Return what the table holds."""
    async with unit_of_work(engine) as work:
        rows = await work.driver.fetch(f"SELECT messages FROM {SCHEMA}.outbox ORDER BY id")  # noqa: S608
    found = [message for row in rows for message in unpack(CAUSE, row["messages"])]
    return [(message.value or b"").decode() for message in found]


def claim(tp: tuple[str, int] = CAUSE) -> Claim:
    """Return a claim of a partition."""
    return Claim(tp[0], tp[1], 1, None, None)


async def test_sent_in_order_and_deleted_by_the_next(
    engine: AsyncEngine, relay: Relay, producer: Recording
) -> None:
    """The fast path: send after the commit, delete with the next transaction."""
    await relay.flush(await commit(engine, relay, messages("1", "2", "3")))
    assert producer.values == ["1", "2", "3"]
    assert await left(engine) == ["1", "2", "3"]
    await relay.flush(await commit(engine, relay, messages("4")))
    assert await left(engine) == ["4"]
    await relay.flush(await commit(engine, relay, []))
    assert await left(engine) == []
    assert producer.values == ["1", "2", "3", "4"]


async def test_a_message_survives_the_table(
    engine: AsyncEngine, relay: Relay, producer: Recording
) -> None:
    """Key, value and headers come out of the outbox unchanged, also where they are absent."""
    whole = Message(CAUSE, "a", b"\0key", b"\xfe\xff", (("x", b""), ("x", b"\0\xff")))
    bare = Message(CAUSE, "b", None, None)
    await commit(engine, relay, [whole, bare])
    await relay.recover(claim())
    assert producer.sent == [
        Record("a", b"\0key", b"\xfe\xff", (("x", b""), ("x", b"\0\xff"))),
        Record("b", None, None, ()),
    ]


async def test_a_crash_after_the_commit(
    engine: AsyncEngine, relay: Relay, producer: Recording
) -> None:
    """Committed and never sent: the next owner sends it first, in order.

    Messages of another partition stay for its owner.
    """
    await commit(engine, relay, messages("1", "2"))
    await commit(engine, relay, messages("of another", tp=OTHER))
    await commit(engine, relay, messages("3"))
    successor = Relay(engine, DATABASE, producer)
    await successor.recover(claim())
    assert producer.values == ["1", "2", "3"]
    assert await left(engine) == ["of another"]
    await successor.recover(claim(OTHER))
    assert producer.values == ["1", "2", "3", "of another"]
    assert await left(engine) == []


async def test_a_crash_after_the_send(
    engine: AsyncEngine, relay: Relay, producer: Recording
) -> None:
    """Sent and not deleted: the next owner sends the same again, never less."""
    await relay.flush(await commit(engine, relay, messages("1", "2")))
    successor = Relay(engine, DATABASE, producer)
    await successor.recover(claim())
    assert producer.values == ["1", "2", "1", "2"]


@pytest.mark.parametrize("arrived", [False, True])
async def test_a_failed_send_is_recovered_before_anything_newer(
    engine: AsyncEngine, relay: Relay, producer: Recording, *, arrived: bool
) -> None:
    """Kafka was absent, or failed in the middle: no newer message overtakes."""
    producer.fails_before, producer.fails_after = not arrived, arrived
    pending = await commit(engine, relay, messages("1", "2"))
    with pytest.raises(Transient):
        await relay.flush(pending)
    await relay.recover(claim())
    await relay.flush(await commit(engine, relay, messages("3")))
    assert producer.values == (["1", "2"] if arrived else []) + ["1", "2", "3"]
    await relay.flush(await commit(engine, relay, []))
    assert await left(engine) == []


async def test_a_failed_transaction_sends_nothing_again(
    engine: AsyncEngine, relay: Relay, producer: Recording
) -> None:
    """The transaction that should have deleted the sent rows failed.

    They are still noted as sent, and deleted with the next transaction rather than sent after newer
    ones.
    """
    await relay.flush(await commit(engine, relay, messages("1")))

    async def fail() -> None:
        async with unit_of_work(engine) as work:
            await relay.forget(work)
            await DATABASE.add(work, messages("never"))
            raise Transient("fenced, or lost")

    with pytest.raises(Transient):
        await fail()
    assert await left(engine) == ["1"]
    await relay.recover(claim())
    await relay.flush(await commit(engine, relay, messages("2")))
    assert producer.values == ["1", "2"]
    assert await left(engine) == ["2"]


async def test_an_unknown_commit_is_settled_by_reading(
    engine: AsyncEngine, relay: Relay, producer: Recording
) -> None:
    """The connection was lost in the COMMIT, which had arrived.

    Its rows were never handed to `flush`, and are found.
    """
    await relay.flush(await commit(engine, relay, messages("1")))
    await commit(engine, relay, messages("2"))  # the answer got lost
    await relay.recover(claim())
    assert producer.values == ["1", "2"]
    await relay.flush(await commit(engine, relay, []))
    assert await left(engine) == []


async def test_more_is_left_than_is_read_at_once(
    engine: AsyncEngine, relay: Relay, producer: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Recovery goes on until nothing is left, in order."""
    monkeypatch.setattr("shared.postgres.outbox.PENDING_PARCELS_MAX", 3)
    monkeypatch.setattr("shared.postgres.outbox.PARCEL_BYTES_MAX", 3)
    values = [str(n) for n in range(10)]
    await commit(engine, relay, messages(*values))
    await relay.recover(claim())
    assert producer.values == values
    assert await left(engine) == []


async def test_close_deletes_what_was_acknowledged(
    engine: AsyncEngine, producer: Recording
) -> None:
    """An orderly end leaves nothing that a successor would send again."""
    relay = Relay(engine, DATABASE, producer)
    await relay.flush(await commit(engine, relay, messages("1")))
    await relay.close()
    assert await left(engine) == []


async def test_close_does_not_need_the_database(
    engine: AsyncEngine, producer: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL went away before the end: no error, and the rows stay for a successor."""
    relay = Relay(engine, DATABASE, producer)
    await relay.flush(await commit(engine, relay, messages("1")))

    async def away(*_: object) -> None:
        raise Transient("PostgreSQL is not there")

    monkeypatch.setattr(relay, "forget", away)
    await relay.close()
    assert await left(engine) == ["1"]


async def test_rolled_back_with_its_transaction(
    engine: AsyncEngine, ledger: Ledger, producer: Recording
) -> None:
    """A message of a refused transaction is never sent."""

    async def refused(work: UnitOfWork) -> None:
        await DATABASE.add(work, messages("never"))
        raise RuntimeError("refused")

    with pytest.raises(RuntimeError):
        async with unit_of_work(engine) as work:
            await refused(work)
    await Relay(engine, DATABASE, producer).recover(await ledger.take_over(CAUSE, "next"))
    assert producer.sent == []


async def test_the_relay_keeps_order_keys_and_headers_on_a_real_topic(
    place: BrokerEnvironment,
) -> None:
    """Through the real producer: order within a partition, keys, headers."""
    await place.create(1)
    relay = Relay(place.engine, DATABASE, Producer(place.kafka, "test"))
    values = [str(n) for n in range(300)]
    found = [Message(CAUSE, place.topic, b"k", v.encode(), (("h", b"1"),)) for v in values]
    await relay.flush(await commit(place.engine, relay, found[:200]))
    await commit(place.engine, relay, found[200:])
    await relay.recover(claim())
    await relay.close()
    worker = place.worker()
    await worker.consumer.start()
    await worker.until_seen(p0=300)
    await worker.consumer.close()
    assert worker.values(0) == values
    assert {(r.key, r.headers) for r in worker.seen[0]} == {(b"k", (("h", b"1"),))}


async def test_a_broker_that_does_not_answer_is_transient_and_keeps_the_rows(
    engine: AsyncEngine, place: BrokerEnvironment
) -> None:
    """A broker that does not answer raises a transient error, and the rows stay."""
    nowhere = place.kafka.model_copy(update={"bootstrap_servers": "127.0.0.1:1"})
    relay = Relay(engine, DATABASE, Producer(nowhere, "test"))
    pending = await commit(engine, relay, messages("1"))
    with pytest.raises(Transient, match="Kafka"):
        await relay.flush(pending)
    assert await left(engine) == ["1"]
    await relay.close()


class Overtaken(Recording):
    """A producer that runs a step of the test before its next send."""

    def __init__(self) -> None:
        super().__init__()
        self.meanwhile: Callable[[], Awaitable[None]] | None = None

    async def send(self, records: Iterable[Record]) -> None:
        """Run the step, then send."""
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            await meanwhile()
        await super().send(records)


@pytest.mark.parametrize("fails", [False, True])
async def test_who_was_overtaken_sends_what_is_newer(engine: AsyncEngine, *, fails: bool) -> None:
    """A worker paused during a send, and its successor has sent newer messages meanwhile.

    In a compacted topic the old ones would stay. So the newer ones are sent after them, until there
    are no newer ones, also when it is unknown whether the send arrived. A worker that was not
    overtaken runs no query.
    """
    stored = messages("newer", "newest")
    asked: list[str] = []
    producer = Overtaken()

    async def newer(sent: Sequence[Message]) -> list[Message]:
        asked.extend((m.value or b"").decode() for m in sent)
        return [stored.pop(0)] if stored else []

    async def take_over() -> None:
        successor = Relay(engine, DATABASE, producer)
        await successor.recover(claim())
        await successor.flush(await commit(engine, successor, messages("next")))
        await successor.close()
        producer.fails_after = fails

    relay = Relay(engine, DATABASE, producer, newer)
    await relay.flush(await commit(engine, relay, messages("in time")))
    assert (producer.values, asked) == (["in time"], [])
    producer.meanwhile = take_over
    pending = await commit(engine, relay, messages("old"))
    if fails:
        with pytest.raises(Transient):
            await relay.flush(pending)
        assert not asked
        await relay.recover(claim())
    else:
        await relay.flush(pending)
    assert producer.values == ["in time", "old", "next", "old", "newer", "newest"]
    assert asked == ["old", "newer", "newest"]
    await relay.flush(await commit(engine, relay, messages("later")))
    assert asked == ["old", "newer", "newest"]
    await relay.close()
    assert await left(engine) == []


async def test_who_ends_looks_first(engine: AsyncEngine) -> None:
    """On its end after a send with an unknown outcome, the relay sends what is newer."""
    producer = Recording()

    async def newer(sent: Sequence[Message]) -> list[Message]:
        return messages("newer") if [m.value for m in sent] == [b"old"] else []

    relay = Relay(engine, DATABASE, producer, newer)
    pending = await commit(engine, relay, messages("old"))
    producer.fails_after = True
    with pytest.raises(Transient):
        await relay.flush(pending)
    await relay.close()
    assert producer.values == ["old", "newer"]
    assert await left(engine) == ["old"]


async def test_what_no_topic_takes_holds_nothing_up(
    engine: AsyncEngine, place: BrokerEnvironment, relay: Relay, producer: Recording
) -> None:
    """A message that is too large, from an earlier version, is cut; a null header stays null."""
    large = Message(CAUSE, "dead", b"k", bytes(3 * RAW_MESSAGE_BYTES_MAX), (("h", None),))
    async with unit_of_work(engine) as work:
        await DATABASE.add(work, [large, *messages("after")])
    await relay.recover(await place.ledger.take_over(CAUSE, "one"))
    cut, after = producer.sent
    assert (len(cut.value or b""), cut.headers) == (RAW_MESSAGE_BYTES_MAX, (("h", None),))
    assert after.value == b"after"
