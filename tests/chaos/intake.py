"""Faults of the intake: ingest killed, and unacceptable records."""

import asyncio
import random
import subprocess
import sys
import time
from collections import Counter

from shared.contracts.activity import DECODER
from shared.contracts.dead_letter import DeadLetter
from shared.kafka.batch import ConsumedRecord as Read
from shared.kafka.producer import Producer, Record
from tests.chaos import raw
from tests.chaos.environment import LIMIT_S, ChaosEnvironment
from tests.chaos.report import Found
from tests.integration.ingest.running import keeps
from tests.integration.scoring.postgres import table
from tests.unit.ingest.events import BAD

FLOOD = 2_500
"""Number of poison records: more than twice the length of ingest's flood window."""


async def killed(arena: ChaosEnvironment) -> Found:
    """kill -9 of ingest at random moments, with scoring behind it: nothing is missing.

    What was sent twice is the same both times, and has one effect.
    """
    source = random.Random(3)  # noqa: S311 (repeatable on purpose)
    total = len(arena.story.happenings)
    await arena.prepare_intake()
    await raw.send(arena, arena.story.happenings)
    await arena.start(settings={}, BATCH_RECORDS_MAX="50")
    for number in range(arena.times):
        worker = await arena.start("ingest", settings={}, BATCH_RECORDS_MAX="20")
        await _folded(arena, int(total * (number + source.random()) / (arena.times + 1)))
        arena.injected += len(await table(arena.place.engine, "event_key")) < total
        await worker.kill()
        arena.stack.forget_dead_members()
    since = time.monotonic()
    before = len(await table(arena.place.engine, "event_key"))
    await arena.start("ingest", settings={})
    await _folded(arena, min(total, before + 1))
    arena.recoveries.append(time.monotonic() - since)
    await _folded(arena, total)
    found = await arena.judged_states()
    contents: dict[str, set[bytes | None]] = {}
    for record in await arena.place.read("activity"):
        shown = DECODER.decode(record.value or b"")
        contents.setdefault(shown.id, set()).add(record.value)
    found.lost += total - len(contents)
    found.duplicated += sum(len(values) > 1 for values in contents.values())
    if dead := len(await arena.place.read("dead-letter")):
        found.wrong.append(f"{dead} good events were refused")
    return found


async def _folded(arena: ChaosEnvironment, events: int) -> None:
    async with asyncio.timeout(LIMIT_S):
        while len(await table(arena.place.engine, "event_key")) < events:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def poison(arena: ChaosEnvironment) -> Found:
    """Every known kind of bytes that are not events, between good events of the same partition.

    Each is parked once with its reason; the good ones keep their order.
    """
    found = Found()
    await arena.prepare_intake()
    topic = arena.place.topic("raw")
    rows = [bad for bad in BAD if keeps(arena.stack.broker, bad)]
    good = [h for h in arena.story.happenings if h.customer == arena.story.happenings[0].customer]
    good = (good * (len(rows) // len(good) + 1))[: len(rows)]
    records = []
    for number, bad in enumerate(rows):
        key = None if number % 2 else b"k"
        records.append(Record(topic, key, bad.value, bad.headers, partition=0))
        at = good[number].time
        value = raw.purchase(f"good-{number}", "someone", at)
        records.append(Record(topic, b"someone", value, partition=0))
    producer = Producer(arena.place.kafka, "chaos")
    await producer.send(records)
    await producer.close()
    worker = await arena.start("ingest", settings={})
    activity = await arena.place.read("activity", len(rows))
    dead = await arena.place.read("dead-letter", len(rows))
    arena.injected = len(rows)
    ids = [DECODER.decode(r.value or b"").id for r in activity]
    wanted = [f"good-{n}" for n in range(len(rows))]
    found.lost += len(set(wanted) - set(ids))
    if ids != wanted:
        found.wrong.append("the good events are not as they came")
    parked = Counter(_origin(letter) for letter in map(_letter, dead))
    found.lost += len(rows) - len(parked)
    found.duplicated += sum(parked.values()) - len(parked)
    if not worker.running:
        found.wrong.append("ingest ended")
    return found


async def flood(arena: ChaosEnvironment) -> Found:
    """Only poison: the limit stops the consumer, and a restart does not resume it.

    After an operator resumes it, every record is parked in the end, once by its origin.
    """
    found = Found()
    await arena.prepare_intake()
    topic = arena.place.topic("raw")
    producer = Producer(arena.place.kafka, "chaos")
    await producer.send(Record(topic, b"k", b"poison %d" % n) for n in range(FLOOD))
    await producer.close()
    worker = await arena.start("ingest", settings={}, BATCH_RECORDS_MAX="200")
    await _stopped(arena)
    arena.injected += 1
    parked = len(await arena.place.read("dead-letter"))
    if parked >= FLOOD:
        found.wrong.append("the flood was not stopped")
    await worker.stop()
    worker = await arena.start("ingest", settings={}, BATCH_RECORDS_MAX="200")
    await worker.until(200, "/livez")
    await asyncio.sleep(1)
    if len(await arena.place.read("dead-letter")) != parked:
        found.wrong.append("a restart went on by itself")
    since = time.monotonic()
    async with asyncio.timeout(LIMIT_S):
        while parked < FLOOD:
            await _operator(arena, "resume")
            await asyncio.sleep(0.5)
            parked = len(await arena.place.read("dead-letter"))
    arena.recoveries.append(time.monotonic() - since)
    origins = Counter(_origin(_letter(record)) for record in await arena.place.read("dead-letter"))
    found.lost += FLOOD - len(origins)
    found.duplicated += sum(origins.values()) - len(origins)
    return found


async def _stopped(arena: ChaosEnvironment) -> None:
    async with asyncio.timeout(LIMIT_S):
        while "refused" not in await _operator(arena, "status"):  # noqa: ASYNC110
            await asyncio.sleep(0.2)


async def _operator(arena: ChaosEnvironment, action: str) -> str:
    done = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "services.ingest", "intake", action),
        env=arena.environment({}, "ingest"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    out, err = await done.communicate()
    return (out + err).decode()


def _letter(record: Read) -> DeadLetter:
    return DeadLetter.from_record(record.key, record.value, record.headers)


def _origin(letter: DeadLetter) -> tuple[str, int, int]:
    return letter.origin.topic, letter.origin.partition, letter.origin.offset
