"""A batch of a replay that passes several ticks has the effect of as many batches."""

import random
from collections import Counter
from dataclasses import fields

import pytest

from services.scoring.inbound import activity as decoding
from services.scoring.inbound.activity import STEPS_MAX
from services.scoring.ports import NOW
from tests.fakes import activity
from tests.fakes.activity import day
from tests.fakes.generated_history import history
from tests.fakes.log import MemoryLog
from tests.fakes.scoring_store import MemorySender, MemoryStore, Remembering, Tables
from tests.fakes.scoring_worker import EVERYTHING, TOPIC, ScoringWorker

OF_THE_MESSAGES = ("outbox", "outbox_ids", "partition")
"""Tables with the number of waiting messages and epochs, which do not describe customers."""


def stream(seed: int) -> MemoryLog:
    """Return two partitions with a tick a day; one of them imports for some of the days."""
    log = MemoryLog(TOPIC)
    source, today = random.Random(seed), 1  # noqa: S311 (repeatable on purpose)
    for happening in history(30, 40, seed):
        while happening.time >= day(today):
            for partition in (0, 1):
                log.append(partition, activity.tick(day(today)))
            if today == 13:
                log.append(1, activity.ended(day(today), "import"))
            today += 1
        partition = int(happening.customer[1:]) % 2
        imported = partition == 1 and 10 <= today < 13
        log.append(partition, happening.value("import" if imported else None))
        if source.random() < 0.1:
            log.append(partition, b"not an event")
    for partition in (0, 1):
        log.append(partition, activity.tick(day(90)))
    return log


async def replay(
    log: MemoryLog, store: MemoryStore | Remembering, sweep_customers_max: int
) -> ScoringWorker:
    """Process batches until the end, each with all that is left."""
    scoring = ScoringWorker(
        store, MemorySender(), replay=True, sweep_customers_max=sweep_customers_max, log=log
    )
    await scoring.drain()
    return scoring


def told(scoring: ScoringWorker) -> dict[tuple[str, bytes | None], list[bytes | None]]:
    """Return what each topic received about each customer, in order."""
    of: dict[tuple[str, bytes | None], list[bytes | None]] = {}
    for message in scoring.sender.sent:
        of.setdefault((message.topic, message.key), []).append(message.value)
    return of


def comparable(tables: Tables) -> dict[str, object]:
    """Return what is stored about customers, with lists in the order of their contents."""
    found = {f.name: getattr(tables, f.name) for f in fields(tables)}
    return {
        name: Counter(map(repr, value)) if isinstance(value, list) else value
        for name, value in found.items()
        if name not in OF_THE_MESSAGES
    }


@pytest.mark.parametrize("remembering", [False, True])
@pytest.mark.parametrize("sweep_customers_max", [3, 1_000])
@pytest.mark.parametrize("seed", [1, 2])
async def test_several_ticks_in_a_batch_give_the_same_as_one_by_one(
    seed: int, sweep_customers_max: int, monkeypatch: pytest.MonkeyPatch, *, remembering: bool
) -> None:
    """All results are byte for byte the same, also where a tick is held.

    These are states, timers, assessments, what was published, classifications and their changes.
    """
    single, several = MemoryStore(), MemoryStore()
    in_front = Remembering(several, 7) if remembering else several
    at_once = await replay(stream(seed), in_front, sweep_customers_max)
    monkeypatch.setattr(decoding, "STEPS_MAX", 1)
    by_tick = await replay(stream(seed), single, EVERYTHING)
    assert comparable(several.tables) == comparable(single.tables)
    assert told(at_once) == told(by_tick)
    assert single.tables.history
    assert single.tables.standing_change
    if sweep_customers_max == 1_000:
        assert len(at_once.done) < len(by_tick.done) / 5


async def test_the_rest_waits_for_its_tick() -> None:
    """What comes after the last tick of a batch is left for the batch with the next tick."""
    log = MemoryLog(TOPIC)
    log.append(0, activity.event("1", "ann", day(0)))
    log.append(0, activity.tick(day(1)))
    log.append(0, activity.event("2", "ann", day(1.5)))
    log.append(0, activity.tick(day(2)))
    log.append(0, activity.event("3", "ann", day(2.5)))
    store = MemoryStore()
    scoring = ScoringWorker(store, MemorySender(), replay=True, log=log)
    await scoring.claim(0)
    await scoring.turn()
    partition = store.tables.partition[TOPIC, 0]
    assert partition.next_offset == 4
    assert partition.progress[NOW] == day(2).timestamp()
    assert {name for _, name in store.tables.event} == {"1", "2"}
    await scoring.turn()
    assert store.tables.partition[TOPIC, 0].next_offset == 5


async def test_a_turn_has_so_many_ticks() -> None:
    """The bound holds however many ticks a poll returns."""
    log = MemoryLog(TOPIC)
    for number in range(STEPS_MAX + 3):
        log.append(0, activity.tick(day(number)))
    scoring = ScoringWorker(MemoryStore(), MemorySender(), replay=True, log=log)
    await scoring.claim(0)
    (move,) = await scoring.turn()
    assert move.next_offset == STEPS_MAX
    (move,) = await scoring.turn()
    assert move.next_offset == STEPS_MAX + 3
