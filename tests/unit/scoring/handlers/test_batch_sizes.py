"""The same records have the same results, however they are cut into batches."""

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import fields
from datetime import datetime

import msgspec
import pytest

from services.scoring.core.features.state import from_bytes
from services.scoring.ports import NOW
from tests.fakes import activity
from tests.fakes.activity import day
from tests.fakes.generated_history import assert_stored, history
from tests.fakes.log import MemoryLog
from tests.fakes.scoring_store import MemorySender, MemoryStore, Remembering, Tables
from tests.fakes.scoring_worker import DEAD, EVERYTHING, TOPIC, ScoringWorker

OF_THE_MESSAGES = ("outbox", "outbox_ids", "partition")
"""Tables with the number of waiting messages and epochs, which do not describe customers."""


def stream(seed: int, *, imports: bool = True) -> MemoryLog:
    """Return two partitions with a tick a day; with `imports` one imports for some of the days."""
    log = MemoryLog(TOPIC)
    source, today = random.Random(seed), 1  # noqa: S311 (repeatable on purpose)
    for happening in history(30, 40, seed):
        while happening.time >= day(today):
            for partition in (0, 1):
                log.append(partition, activity.tick(day(today)))
            if imports and today == 13:
                log.append(1, activity.ended(day(today), "import"))
            today += 1
        partition = int(happening.customer[1:]) % 2
        imported = imports and partition == 1 and 10 <= today < 13
        log.append(partition, happening.value("import" if imported else None))
        if source.random() < 0.1:
            log.append(partition, b"not an event")
    for partition in (0, 1):
        log.append(partition, activity.tick(day(90)))
    return log


async def replay(
    log: MemoryLog,
    store: MemoryStore | Remembering,
    sweep_customers_max: int = EVERYTHING,
    count: Callable[[], int] = lambda: EVERYTHING,
) -> ScoringWorker:
    """Process batches until the end, each with `count()` records of each partition."""
    scoring = ScoringWorker(
        store, MemorySender(), replay=True, sweep_customers_max=sweep_customers_max, log=log
    )
    await scoring.drain(count)
    return scoring


def reported(scoring: ScoringWorker) -> dict[tuple[str, bytes | None], list[bytes | None]]:
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


def rounded(value: object) -> object:
    """Return JSON with numbers to nine digits: a sum depends on how it is grouped."""
    if isinstance(value, dict):
        return {key: rounded(one) for key, one in value.items()}
    if isinstance(value, list):
        return [rounded(one) for one in value]
    return f"{value:.9g}" if isinstance(value, float) else value


def rounded_messages(scoring: ScoringWorker) -> dict[tuple[str, bytes | None], list[object]]:
    """Return `told` with rounded numbers; dead letters, which are no JSON, as they are."""
    return {
        (topic, key): [
            value if topic == DEAD else rounded(msgspec.json.decode(value or b""))
            for value in values
        ]
        for (topic, key), values in reported(scoring).items()
    }


def whens(tables: Tables) -> dict[str, datetime]:
    """Return each customer's timer, to the second."""
    return {name: at.replace(microsecond=0) for name, (_, at) in tables.timer.items()}


@pytest.mark.parametrize("most", [1, 7, 60])
async def test_batch_sizes_change_no_result(most: int) -> None:
    """All tables and messages are the same, however the records are cut into batches."""
    whole, cut = MemoryStore(), MemoryStore()
    source = random.Random(most)  # noqa: S311 (repeatable on purpose)
    at_once = await replay(stream(1, imports=False), whole)
    in_pieces = await replay(stream(1, imports=False), cut, count=lambda: source.randint(1, most))
    assert rounded_messages(in_pieces) == rounded_messages(at_once)
    assert whens(cut.tables) == whens(whole.tables)
    assert_stored(
        {name: state for name, (_, state) in cut.tables.state.items()},
        {name: from_bytes([state]) for name, (_, state) in whole.tables.state.items()},
    )
    assert cut.tables.key == whole.tables.key
    assert cut.tables.profile == whole.tables.profile
    for name in ("event", "standing_change"):
        assert Counter(getattr(cut.tables, name)) == Counter(getattr(whole.tables, name)), name
    assert len(in_pieces.done) > len(at_once.done)


@pytest.mark.parametrize("seed", [1, 2])
async def test_held_ticks_and_a_small_cache_change_no_result(seed: int) -> None:
    """All results are byte for byte the same with several sweeps per tick and few customers cached.

    These are states, timers, assessments, what was published, classifications and their changes.
    """
    plain, bounded = MemoryStore(), MemoryStore()
    at_once = await replay(stream(seed), plain)
    in_sweeps = await replay(stream(seed), Remembering(bounded, 7), sweep_customers_max=3)
    assert comparable(bounded.tables) == comparable(plain.tables)
    assert reported(in_sweeps) == reported(at_once)
    assert len(in_sweeps.done) > len(at_once.done)
    assert plain.tables.history
    assert plain.tables.standing_change


async def test_a_batch_passes_at_most_one_tick() -> None:
    """What comes after a tick is left for the next batch; the last records wait for no tick."""
    log = MemoryLog(TOPIC)
    log.append(0, activity.event("1", "ann", day(0)))
    log.append(0, activity.tick(day(1)))
    log.append(0, activity.event("2", "ann", day(1.5)))
    log.append(0, activity.tick(day(2)))
    log.append(0, activity.event("3", "ann", day(2.5)))
    store = MemoryStore()
    scoring = ScoringWorker(store, MemorySender(), replay=True, log=log)
    await scoring.claim(0)
    for offset, today, names in (
        (2, 1, {"1"}),
        (4, 2, {"1", "2"}),
        (5, 2, {"1", "2", "3"}),
    ):
        await scoring.turn()
        partition = store.tables.partition[TOPIC, 0]
        assert partition.next_offset == offset
        assert partition.progress[NOW] == day(today).timestamp()
        assert {name for _, name in store.tables.event} == names
