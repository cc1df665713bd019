"""Faults of the log itself: recreated, cut by retention, given more partitions, repeated."""

import asyncio
import time
from datetime import datetime

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, RecordsToDelete

from deploy.local import topics as creating
from services.scoring.store.tables import SCHEMA
from shared.contracts import topics
from shared.contracts.topics import Topic
from shared.postgres.ledger import Ledger
from tests.chaos.environment import (
    LIMIT_S,
    PARTITIONS,
    ChaosEnvironment,
    Worker,
)
from tests.chaos.report import Found
from tests.fakes import activity
from tests.fakes.generated_history import Happening, history
from tests.fakes.log import MemoryLog
from tests.fakes.scoring_worker import TOPIC

STOPPED = "ebbwatch_scoring_partitions_stopped"


async def recreated(arena: ChaosEnvironment) -> Found:
    """Deleted and made anew with other records: every partition stops with a reason.

    Nothing is read of the new log; an operator rewinds the partitions one by one, and it is read in
    full.
    """
    found = Found()
    await arena.place.send(arena.story.log)
    await arena.start()
    await arena.finished()
    name = arena.place.topic("activity")
    admin = AIOKafkaAdminClient(**arena.place.kafka.client_kwargs("chaos"))
    await admin.start()
    try:
        await admin.delete_topics([name])
        async with asyncio.timeout(LIMIT_S):
            while name in await admin.list_topics():  # noqa: ASYNC110
                await asyncio.sleep(0.05)
    finally:
        await admin.close()
    await creating.create(arena.place.kafka, (Topic(name, PARTITIONS, topics.ACTIVITY.settings),))
    more, log = _another()
    await arena.place.send(log)
    worker = await arena.start()
    await _stops(worker, PARTITIONS)
    arena.injected += 1
    if await arena.consumed() != arena.total:
        found.wrong.append("was reset silently")
    since = time.monotonic()
    await _rewind(arena)
    await _at(arena, sum(map(len, log.records.values())), since)
    return await _plus(arena, more, found)


async def passed_by_retention(arena: ChaosEnvironment) -> Found:
    """Retention deletes records that were not read yet: those partitions stop with a reason.

    The others go on; an operator resumes the stopped ones behind the gap.
    """
    found = Found()
    await arena.place.send(arena.story.log)
    await arena.start()
    await arena.finished()
    more, log = _another()
    gone = [h for h in more if int(h.customer[1:]) % PARTITIONS == 0]
    await arena.place.send(log)
    name = arena.place.topic("activity")
    at = {row["partition"]: row["next_offset"] for row in await arena.partitions()}[0]
    assert isinstance(at, int)
    end = at + len(log.records[TOPIC, 0])
    admin = AIOKafkaAdminClient(**arena.place.kafka.client_kwargs("chaos"))
    await admin.start()
    try:
        await admin.delete_records({TopicPartition(name, 0): RecordsToDelete(end)})
    finally:
        await admin.close()
    worker = await arena.start()
    await _stops(worker, 1)
    arena.injected += 1
    rest = arena.total + sum(len(r) for tp, r in log.records.items() if tp[1] != 0)
    await _at(arena, rest, None)
    since = time.monotonic()
    shown = await arena.place.command(
        "partitions", "resume", "0", "--topic", name, "--offset", str(end)
    )
    if f"goes on at {end}" not in shown:
        found.wrong.append(f"resume printed {shown}")
    log_after = MemoryLog(TOPIC)
    log_after.append(0, activity.tick(_after(more)))
    await arena.place.send(log_after)
    async with asyncio.timeout(LIMIT_S):
        while {r["partition"]: r["next_offset"] for r in await arena.partitions()}[0] != end + 1:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    arena.recoveries.append(time.monotonic() - since)
    return await _plus(arena, [h for h in more if h not in gone], found)


def _another() -> tuple[list[Happening], MemoryLog]:
    """Generates events of other customers, for a log that comes later."""
    more = [
        Happening(f"x{h.name}", f"x{h.customer[1:]}", h.time, h.kind, h.type, h.data)
        for h in history(24, 20, seed=5)
    ]
    log = MemoryLog(TOPIC)
    for h in more:
        log.append(int(h.customer[1:]) % PARTITIONS, h.value(), key=h.customer.encode())
    return more, log


def _after(happenings: list[Happening]) -> datetime:
    return max(h.time for h in happenings)


async def _stops(worker: Worker, count: int) -> None:
    async with asyncio.timeout(LIMIT_S):
        while await worker.status("/livez") != 200 or await worker.metric(STOPPED) != count:  # noqa: ASYNC110
            await asyncio.sleep(0.1)


async def _at(arena: ChaosEnvironment, records: int, since: float | None) -> None:
    async with asyncio.timeout(LIMIT_S):
        while await arena.consumed() != records:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    if since is not None:
        arena.recoveries.append(time.monotonic() - since)


async def _plus(arena: ChaosEnvironment, more: list[Happening], found: Found) -> Found:
    for worker in arena.workers:
        await worker.stop()
    arena.story.happenings.extend(more)
    try:
        judged = await arena.judged()
    finally:
        del arena.story.happenings[-len(more) :]
    judged.wrong += found.wrong
    return judged


async def partitions_added(arena: ChaosEnvironment) -> Found:
    """Three partitions become six while two workers read.

    Customers move to other partitions in the middle of their history, and some of their events
    still go to the old ones.
    """
    name = arena.place.topic("activity")
    half = len(arena.story.happenings) // 2
    settings = {"KAFKA_METADATA_MAX_AGE_MS": "500"}
    arena.addresses |= settings
    for _ in range(2):
        await arena.start()
    await _write(arena, arena.story.happenings[:half], 3)
    admin = AIOKafkaAdminClient(**arena.place.kafka.client_kwargs("chaos"))
    await admin.start()
    try:
        await admin.create_partitions({name: NewPartitions(PARTITIONS)})
    finally:
        await admin.close()
    arena.injected += 1
    since = time.monotonic()
    quarter = half + half // 2
    await asyncio.gather(
        # One sender that knows of the new partitions, and one that does not yet.
        _write(arena, arena.story.happenings[half:quarter:2], 6),
        _write(arena, arena.story.happenings[half + 1 : quarter : 2], 3),
    )
    await _write(arena, arena.story.happenings[quarter:], 6)
    total = len(arena.story.happenings)
    await _at(arena, total, since)
    for worker in arena.workers:
        assert await worker.stop() == 0, f"did not end well: {worker.log}"
    return await arena.judged_states()


async def _rewind(arena: ChaosEnvironment) -> None:
    """Rewinds every partition to the start: one by the operator's command, the others without a
    process."""
    name = arena.place.topic("activity")
    await arena.place.command("partitions", "rewind", "0", "--topic", name)
    ledger = Ledger(arena.place.engine, SCHEMA)
    for partition in range(1, PARTITIONS):
        assert await ledger.reset((name, partition), None)


async def _write(arena: ChaosEnvironment, happenings: list[Happening], partitions: int) -> None:
    log = MemoryLog(TOPIC)
    for h in happenings:
        log.append(int(h.customer[1:]) % partitions, h.value(), key=h.customer.encode())
    await arena.place.send(log)


async def sent_twice(arena: ChaosEnvironment) -> Found:
    """Every record of the topic is sent a second time, ticks included."""
    await arena.start()
    for _ in range(2):
        await arena.place.send(arena.story.log)
    await _at(arena, 2 * arena.total, None)
    arena.injected += 1
    for worker in arena.workers:
        assert await worker.stop() == 0
    return await arena.judged()


async def rewound(arena: ChaosEnvironment) -> Found:
    """An operator rewinds every partition to the start while the service runs.

    Everything is read again and nothing changes.
    """
    await arena.place.send(arena.story.log)
    await arena.start()
    await arena.reached(1)
    since = time.monotonic()
    await _rewind(arena)
    arena.injected += PARTITIONS
    await _at(arena, arena.total, since)
    await arena.finished()
    return await arena.judged()
