"""A record that ends the process repeatedly is set aside, on a real broker and ledger."""

import asyncio
from collections.abc import Sequence

import pytest

from shared.contracts.dead_letter import DeadLetter
from shared.kafka.batch import Batch, ConsumedRecord
from shared.kafka.producer import Producer
from shared.kafka.quarantine import (
    BATCH_DEATHS_MAX,
    DEATHS_MAX,
    REASON,
    ParkAsDeadLetter,
    Quarantine,
)
from shared.kafka.relay import Relay
from shared.kafka.transaction import BatchTransactions
from shared.kafka.worker import work
from shared.postgres.engine import unit_of_work
from shared.postgres.ledger import Move
from shared.postgres.outbox import Outbox
from shared.runtime.health import Health
from shared.runtime.service import Stop
from tests.fakes.clock import SetClock
from tests.integration.shared.environment import LIMIT_S, BrokerEnvironment, Worker
from tests.integration.shared.tables import SCHEMA

pytestmark = pytest.mark.stack

BAD = b"3"


class Bug(Exception):  # noqa: N818
    """A fault of our own code."""


async def life(place: BrokerEnvironment, worker: Worker, parked: list[str], wanted: int) -> bool:
    """Run one process until it passes offset `wanted` and is stopped, or dies.

    Returns whether it passed the offset.
    """
    outbox, stop = Outbox(SCHEMA), Stop()
    producer = Producer(place.kafka, "test")
    relay = Relay(place.engine, outbox, producer)
    park = ParkAsDeadLetter(
        transactions=BatchTransactions(
            engine=place.engine, ledger=worker.ledger, outbox=outbox, relay=relay
        ),
        topic=place.topic,  # a dead letter arrives as the topic's last record
        stage="test",
        observe=parked.append,
    )

    async def handle(batch: Batch) -> Sequence[Move]:
        moves = [batch.move(tp, len(records), {}) for tp, records in batch.records.items()]
        async with unit_of_work(place.engine) as transaction:
            await worker.ledger.advance(transaction, moves)
            if any(r.value == BAD and not r.headers for r in _all(batch)):
                raise Bug
        for record in _all(batch):
            worker.seen[record.partition].append(record)
        if sum(len(found) for found in worker.seen.values()) >= wanted:
            stop.set()
        return moves

    quarantine = Quarantine(worker.ledger.unfinished, park)
    try:
        async with asyncio.timeout(LIMIT_S):
            await work(worker.consumer, handle, quarantine, stop, Health(SetClock()), "test")
    except Bug:
        return False
    finally:
        await relay.close()
    return True


async def test_the_record_is_parked_and_the_others_are_worked_on_once(
    place: BrokerEnvironment,
) -> None:
    await place.create(1)
    await place.write({0: [str(n) for n in range(10)]})
    seen: list[bytes | None] = []
    parked: list[str] = []
    deaths = 0
    while True:
        worker = place.worker(f"process-{deaths}")
        lived = await life(place, worker, parked, 10 - len(seen))
        seen += [record.value for record in worker.seen[0]]
        if lived:
            break
        deaths += 1
        assert deaths <= BATCH_DEATHS_MAX + DEATHS_MAX
    assert deaths == BATCH_DEATHS_MAX + DEATHS_MAX
    assert parked == [place.topic]
    assert seen == [str(n).encode() for n in range(10) if n != 3] + [BAD]
    letter = worker.seen[0][-1]
    found = DeadLetter.from_record(letter.key, letter.value, tuple(letter.headers))
    assert (found.reason, found.origin.offset, found.stage) == (REASON, 3, "test")
    assert await _rows(place) == 0


async def test_what_an_operator_rewinds_is_tried_anew(place: BrokerEnvironment) -> None:
    await place.create(1)
    await place.write({0: ["3"]})
    parked: list[str] = []
    lives = [await life(place, place.worker(str(n)), parked, 1) for n in range(DEATHS_MAX)]
    assert lives == [False] * DEATHS_MAX
    assert await _rows(place) == 1
    await place.ledger.reset(place.tp(0), 0)
    assert await _rows(place) == 0
    assert await life(place, place.worker("again"), parked, 1) is False
    assert parked == []


async def _rows(place: BrokerEnvironment) -> int:
    async with unit_of_work(place.engine) as transaction:
        found = await transaction.driver.fetchval(f"SELECT count(*) FROM {SCHEMA}.unfinished")  # noqa: S608
    return int(found)


def _all(batch: Batch) -> list[ConsumedRecord]:
    return [record for records in batch.records.values() for record in records]
