"""Faults of time: a wrong clock, and time that passed without a worker; neither is a silence."""

import asyncio
import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from aiokafka import AIOKafkaProducer

from services.scoring.core.features.events import Kind
from services.scoring.core.features.state import from_bytes
from shared.contracts.risk import BANDS, DECODER
from tests.chaos import raw
from tests.chaos.environment import LIMIT_S, PARTITIONS, ChaosEnvironment
from tests.chaos.judge import HIGH
from tests.chaos.report import Found
from tests.fakes import activity
from tests.integration.scoring.postgres import table

CUSTOMERS = 24
LEAVERS = 6
"""Number of customers who stop: the control that silence is noticed at all."""
GAP_DAYS = 2
RHYTHM_PURCHASES = 5
"""Purchases that give a rhythm. With fewer the rule expects little: the risk is high without any
silence."""
SILENCE = "silence_beyond_rhythm"
LIVE = {"CLOCK": "live", "BATCH_RECORDS_MAX": "30", "SWEEP_INTERVAL_S": "0.1"}
MINUTES_AHEAD = 10
"""The error of a badly kept clock: more than is accepted unchanged, less than is refused."""

AHEAD_S = 300.0 + 60.0
"""How far ahead of the wall clock the newest event may lie: the clamp, and slack for the run."""

Purchase = tuple[str, int, datetime]
"""(id, customer's number, when)."""


def _rhythms(since: datetime, until: datetime, *, leave: datetime) -> list[Purchase]:
    """Generates purchases every other day; the last customers stop."""
    found = []
    for number in range(CUSTOMERS):
        at = since + timedelta(hours=number)
        end = leave if number >= CUSTOMERS - LEAVERS else until
        while at < end:
            found.append((f"e{number}-{at:%m%d%H}", number, at))
            at += timedelta(days=GAP_DAYS)
    return sorted(found, key=lambda purchase: purchase[2])


async def _send(arena: ChaosEnvironment, purchases: Iterable[Purchase]) -> int:
    """Sends records of the activity topic that arrived when they happened."""
    name = arena.place.topic("activity")
    count = 0
    async with AIOKafkaProducer(**arena.place.kafka.client_kwargs("chaos")) as producer:
        sent = []
        for id_, number, at in purchases:
            value = activity.event(id_, f"c{number}", at)
            sent.append(
                await producer.send(
                    name,
                    value,
                    f"c{number}".encode(),
                    partition=number % PARTITIONS,
                    timestamp_ms=int(at.timestamp() * 1000),
                )
            )
            count += 1
        await asyncio.gather(*sent)
    return count


async def _alerted(arena: ChaosEnvironment) -> set[int]:
    """Returns customers with a known rhythm and a published assessment of high risk."""
    kept = [
        DECODER.decode(r["message"]) for r in await table(arena.place.engine, "assessment_history")
    ]
    return {
        int(t.customer_id[1:])
        for t in kept
        if BANDS.index(t.band) >= HIGH and t.purchases >= RHYTHM_PURCHASES
    }


async def _swept(arena: ChaosEnvironment, now: float) -> None:
    """Waits until every partition's time has passed `now` and no timer is due before it."""
    limit = datetime.fromtimestamp(now, UTC)
    async with asyncio.timeout(LIMIT_S):
        while any(r["due_at"] <= limit for r in await table(arena.place.engine, "timer")):  # noqa: ASYNC110
            await asyncio.sleep(0.1)


async def lag(arena: ChaosEnvironment) -> Found:
    """A worker stopped thirty days ago while the customers went on buying.

    When it comes back, every customer's timer is due, but only those who really stopped are silent.
    """
    found = Found()
    now = datetime.now(UTC)
    then = now - timedelta(days=30)
    purchases = _rhythms(now - timedelta(days=70), now, leave=then - timedelta(hours=12))
    clock = arena.folder / f"{arena.place.mark}-clock"
    _set(clock, (then - now).total_seconds())
    before = await _send(arena, [p for p in purchases if p[2] < then])
    worker = await arena.start(arguments=("--clock", str(clock)), settings=LIVE)
    await _at(arena, before)
    await worker.stop()
    if early := await _alerted(arena):
        found.wrong.append(f"{len(early)} were alerted before anything happened")
    after = await _send(arena, [p for p in purchases if p[2] >= then])
    arena.injected = len(await table(arena.place.engine, "timer"))
    since = time.monotonic()
    worker = await arena.start(settings=LIVE)
    await _at(arena, before + after)
    arena.recoveries.append(time.monotonic() - since)
    await _swept(arena, now.timestamp())
    await worker.stop()
    alerted = await _alerted(arena)
    leavers = set(range(CUSTOMERS - LEAVERS, CUSTOMERS))
    found.false_alerts += len(alerted - leavers)
    found.lost += len(leavers - alerted)
    found.lost += before + after - len(await table(arena.place.engine, "event_key"))
    return found


async def jump(arena: ChaosEnvironment) -> Found:
    """The wall clock is an hour ahead, right again, an hour behind: no customer is alerted.

    A month ahead all are, so a false alert would have been seen.
    """
    found = Found()
    now = datetime.now(UTC)
    clock = arena.folder / f"{arena.place.mark}-clock"
    _set(clock, 0)
    total = await _send(arena, _rhythms(now - timedelta(days=40), now, leave=now))
    worker = await arena.start(arguments=("--clock", str(clock)), settings=LIVE)
    await _at(arena, total)
    for number, offset in enumerate((3_600, 0, -3_600, 0)):
        _set(clock, offset)
        arena.injected += bool(offset)
        more = [(f"j{number}-{n}", n, datetime.now(UTC)) for n in range(0, CUSTOMERS, 3)]
        since = time.monotonic()
        total += await _send(arena, more)
        await _at(arena, total)
        arena.recoveries.append(time.monotonic() - since)
        await asyncio.sleep(1)
    found.false_alerts += len(await _alerted(arena))
    _set(clock, 30 * 86_400)
    async with asyncio.timeout(LIMIT_S):
        while len(await _alerted(arena)) < CUSTOMERS:
            assert worker.running
            await asyncio.sleep(0.2)
    await worker.stop()
    return found


async def late_and_future(arena: ChaosEnvironment) -> Found:
    """Events dated a year back and minutes ahead, through ingest: all are folded, clamped if ahead.

    None lies further ahead than a badly kept clock may. Those of next year are refused.
    """
    found = Found()
    await arena.prepare_intake()
    now = datetime.now(UTC)
    await arena.start("ingest", settings={})
    await arena.start(settings=LIVE)
    names = [f"c{n}" for n in range(CUSTOMERS)]
    happenings = []
    for days in (0.0, -365.0, MINUTES_AHEAD / 1_440, 365.0, -1.0):
        for name in names:
            happenings.append((f"{name}-{days}", name, now + timedelta(days=days)))
            arena.injected += days not in {0.0, -1.0}
    await _raw(arena, happenings)
    folded = len(happenings) * 4 // 5
    async with asyncio.timeout(LIMIT_S):
        while len(await table(arena.place.engine, "event_key")) < folded:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    rows = await table(arena.place.engine, "customer_state")
    states = from_bytes([row["state"] for row in rows])
    counted = states["counts"][:, Kind.PURCHASE - 1]
    found.lost += int((4 - counted).clip(0).sum())
    found.duplicated += int((counted - 4).clip(0).sum())
    if (states["ref"] > time.time() + AHEAD_S).any():
        found.wrong.append("an event of the minutes to come was not clamped")
    if (states["first_purchase"] > now.timestamp() - 364 * 86_400).any():
        found.wrong.append("an event of last year was not folded at its time")
    found.false_alerts += len(await _told_silent(arena))
    return found


async def _told_silent(arena: ChaosEnvironment) -> set[str]:
    """Returns customers assessed as unusually silent, although all have just bought."""
    rows = await table(arena.place.engine, "assessment_history")
    kept = [DECODER.decode(row["message"]) for row in rows]
    return {t.customer_id for t in kept if t.reasons and t.reasons[0].code == SILENCE}


async def _raw(arena: ChaosEnvironment, purchases: list[tuple[str, str, datetime]]) -> None:
    async with AIOKafkaProducer(**arena.place.kafka.client_kwargs("chaos")) as producer:
        sent = [
            await producer.send(
                arena.place.topic("raw"), raw.purchase(id_, name, at), name.encode()
            )
            for id_, name, at in purchases
        ]
        await asyncio.gather(*sent)


def _set(clock: Path, seconds: float) -> None:
    """Replaces the file in one step: the service reads it at any moment and must never find it
    empty."""
    new = clock.with_suffix(".new")
    new.write_text(str(seconds))
    new.replace(clock)


async def _at(arena: ChaosEnvironment, records: int) -> None:
    async with asyncio.timeout(LIMIT_S):
        while await arena.consumed() < records:  # noqa: ASYNC110 (no event)
            await asyncio.sleep(0.02)
