"""Killed at any moment and restarted, scoring has the result of an undisturbed run.

Invariants 1, 2 and 8.
"""

import asyncio
import random
import signal

import pytest

from deploy.local.stack import LocalStack
from shared.contracts.risk import DECODER, RiskAssessed
from tests.fakes import activity
from tests.fakes.activity import day
from tests.fakes.generated_history import assert_stored, history, states
from tests.fakes.log import MemoryLog
from tests.fakes.scoring_store import MemorySender, MemoryStore
from tests.fakes.scoring_worker import TOPIC, ScoringWorker
from tests.integration.scoring.postgres import assessments, table
from tests.integration.scoring.running import ServiceEnvironment, by_key, place, scoring
from tests.integration.scoring.test_replay_clock import assert_same_told

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]

PARTITIONS = 6
HISTORY = history(80, 60, seed=41)
DRAIN_S_MAX = 10.0
"""The longest time that a service may take to end after SIGTERM."""
SMALL_BATCHES = {"CLOCK": "replay", "BATCH_RECORDS_MAX": "60", "SWEEP_CUSTOMERS_MAX": "15"}
"""Many batches, so that a kill is in the middle of one, and held ticks."""


def written() -> MemoryLog:
    """Return two months with a tick every day; the first ten days are an import."""
    log = MemoryLog(TOPIC)
    today = 0
    for happening in HISTORY:
        while happening.time >= day(today + 1):
            today += 1
            for partition in range(PARTITIONS):
                if today == 10:
                    log.append(partition, activity.ended(day(10)))
                log.append(partition, activity.tick(day(today)))
        partition = int(happening.customer[1:]) % PARTITIONS
        value = happening.value("import-1" if today < 10 else None)
        log.append(partition, value, key=happening.customer.encode())
    for partition in range(PARTITIONS):
        log.append(partition, activity.tick(day(61)))
    return log


async def undisturbed(log: MemoryLog) -> ScoringWorker:
    """Process the same log in one process, in memory, in large batches."""
    made = ScoringWorker(MemoryStore(), MemorySender(), replay=True, log=log)
    await made.drain()
    return made


def told_by(messages: list[RiskAssessed]) -> dict[str, list[RiskAssessed]]:
    """Return messages by customer and revision, each once."""
    once = {(m.customer_id, m.revision): m for m in messages}
    found: dict[str, list[RiskAssessed]] = {}
    for (customer, _), message in sorted(once.items()):
        found.setdefault(customer, []).append(message)
    return found


async def assert_as_undisturbed(place: ServiceEnvironment, log: MemoryLog) -> None:
    """Compare states, offsets, assessments and the contents of the risk topic."""
    reference = await undisturbed(log)
    assert isinstance(reference.store, MemoryStore)
    assert await place.offsets() == {p: len(log.records[TOPIC, p]) for p in range(PARTITIONS)}
    stored = {r["customer_id"]: r["state"] for r in await table(place.engine, "customer_state")}
    assert_stored(stored, states(HISTORY))
    assert len(await table(place.engine, "event")) == len(HISTORY)

    revisions = {r["customer_id"]: r["revision"] for r in await assessments(place.engine)}
    assert revisions == {c: a.revision for c, a in reference.store.tables.assessment.items()}
    expected = told_by(reference.told)
    kept = [DECODER.decode(r["message"]) for r in await table(place.engine, "assessment_history")]
    assert len(kept) == sum(map(len, expected.values()))
    assert_same_told(told_by(kept), expected)

    sent = await place.read("risk")
    assert_same_told(told_by([DECODER.decode(r.value or b"") for r in sent]), expected)
    for key, records in by_key(sent).items():
        # A message may be sent again, but the newest must stay in the compacted topic.
        last = DECODER.decode(records[-1].value or b"")
        assert last.revision == expected[key.decode()][-1].revision


@pytest.mark.parametrize("seed", [1, 2])
async def test_a_killed_service_loses_and_doubles_nothing(
    stack: LocalStack, database_url: str, seed: int
) -> None:
    """The service is killed with SIGKILL three times at random moments.

    Each start joins a group of another name, since a group waits ten seconds for a dead member; the
    ledger, not the group, decides who owns a partition.
    """
    source = random.Random(seed)  # noqa: S311 (repeatable on purpose)
    log = written()
    total = sum(map(len, log.records.values()))
    async with place(stack, database_url, PARTITIONS) as made:
        await made.send(log)
        for n, share in enumerate((0.1, 0.4, 0.7)):
            async with scoring(made, GROUP=f"scoring-{made.mark}-{n}", **SMALL_BATCHES) as service:
                await made.reached(int(total * (share + source.uniform(0, 0.1))))
                await asyncio.sleep(source.uniform(0, 0.05))
                await service.stop(signal.SIGKILL)
            assert sum((await made.offsets()).values()) < total, "not killed in the middle"
        async with scoring(made, GROUP=f"scoring-{made.mark}-end", **SMALL_BATCHES) as service:
            await made.reached(total)
            assert await service.stop(seconds=DRAIN_S_MAX) == 0
        await assert_as_undisturbed(made, log)


@pytest.mark.usefixtures("apache_kafka")  # the embedded one keeps dead members
async def test_killed_while_another_one_runs(stack: LocalStack, database_url: str) -> None:
    """Two replicas share the partitions, and one is killed.

    The other one, in the same group, takes over its partitions, after its session and not before.
    """
    log = written()
    total = sum(map(len, log.records.values()))
    async with place(stack, database_url, PARTITIONS) as made:
        async with scoring(made, **SMALL_BATCHES) as one, scoring(made, **SMALL_BATCHES) as two:
            await one.until("/readyz", 200)
            await two.until("/readyz", 200)
            await made.send(log)
            await made.reached(total // 10)
            await one.stop(signal.SIGKILL)
            assert sum((await made.offsets()).values()) < total, "not killed in the middle"
            await made.reached(total)
            assert await two.stop(seconds=DRAIN_S_MAX) == 0
        await assert_as_undisturbed(made, log)


async def test_sigterm_ends_in_time_and_leaves_nothing_unsent(
    stack: LocalStack, database_url: str
) -> None:
    """On SIGTERM in the middle, the service ends in time with status 0 and leaves nothing unsent.

    The same holds while it still starts or joins the group.
    """
    log = written()
    total = sum(map(len, log.records.values()))
    async with place(stack, database_url, PARTITIONS) as made:
        await made.send(log)
        async with scoring(made, **SMALL_BATCHES) as service:
            await made.reached(total // 4)
            assert await service.stop(seconds=DRAIN_S_MAX) == 0
        assert sum((await made.offsets()).values()) < total, "not stopped in the middle"
        assert await table(made.engine, "outbox") == []
        async with scoring(made, **SMALL_BATCHES) as service:
            await service.until("/startupz", 200)
            assert await service.stop(seconds=DRAIN_S_MAX) == 0
        stack.forget_dead_members()  # one that had asked to join and not yet been answered
        async with scoring(made, **SMALL_BATCHES) as service:
            await made.reached(total)
            assert await service.stop(seconds=DRAIN_S_MAX) == 0
        await assert_as_undisturbed(made, log)
