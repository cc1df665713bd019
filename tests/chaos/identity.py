"""Faults while ids become one customer: every id of a customer has a home of its own."""

import asyncio
import random
import signal
from collections import Counter

from services.scoring.core.features.state import from_bytes
from shared.contracts import events
from shared.contracts.activity import ActivityData
from shared.contracts.events import Identity
from shared.kafka.partitions import partitions_of
from tests.chaos.environment import DAYS, LIMIT_S, ChaosEnvironment, Story
from tests.chaos.judge import equal
from tests.chaos.report import Found
from tests.chaos.workers import kill_at_random
from tests.fakes import activity
from tests.fakes.activity import day
from tests.fakes.generated_history import Happening, states
from tests.fakes.log import MemoryLog
from tests.fakes.scoring_worker import TOPIC
from tests.integration.scoring.postgres import table

LINKED_AFTER = 0.5
"""Share of a customer's events before its ids are linked."""


async def killed(arena: ChaosEnvironment) -> Found:
    """kill -9 at random moments of a log in which every customer has two ids that are linked."""
    _with_two_ids(arena)
    await kill_at_random(arena)
    return await _judged(arena)


async def taken_over(arena: ChaosEnvironment) -> Found:
    """Members come and go while ids are linked: both homes of a customer change hands."""
    _with_two_ids(arena)
    steady = await arena.start()
    await steady.until(200)
    sending = asyncio.create_task(_slowly(arena))
    for number in range(arena.times):
        guest = await arena.start()
        await asyncio.sleep(1.5)
        await arena.count()
        await guest.stop(signal.SIGTERM if number % 2 == 0 else signal.SIGKILL)
    await sending
    return await _judged(arena)


async def _slowly(arena: ChaosEnvironment) -> None:
    rounds = 8 * arena.times
    for number in range(rounds):
        await arena.send_part(number, rounds)
        await asyncio.sleep(0.15)


def _with_two_ids(arena: ChaosEnvironment) -> None:
    """Give every customer of the story a second id, and link the two halfway."""
    happenings = arena.story.happenings
    source = random.Random(7)  # noqa: S311 (repeatable on purpose)
    left = Counter(h.customer for h in happenings)
    link_at = {customer: int(count * LINKED_AFTER) for customer, count in left.items()}
    log, today = MemoryLog(TOPIC), 0
    for happening in happenings:
        while happening.time >= day(today + 1):
            today += 1
            tick(log, arena.place.partitions, today)
        customer = happening.customer
        came_with = source.choice((customer, _second(customer)))
        append(log, arena.place.partitions, came_with, _under(happening, came_with))
        left[customer] -= 1
        if left[customer] == link_at[customer]:
            append(log, arena.place.partitions, customer, _link(happening))
    tick(log, arena.place.partitions, DAYS + 1)
    arena.story = Story(happenings, log, {})


def _second(customer: str) -> str:
    return f"{customer}-web"


def _under(happening: Happening, customer: str) -> bytes:
    return activity.event(
        happening.name, customer, happening.time, kind=happening.type, data=happening.data
    )


def _link(after: Happening) -> bytes:
    customer = after.customer
    data = ActivityData(identity=Identity(ids=[_second(customer)], primary=customer))
    return activity.event(f"link-{customer}", customer, after.time, kind=events.IDENTITY, data=data)


def append(log: MemoryLog, partitions: int, customer: str, value: bytes) -> None:
    (home,) = partitions_of([customer.encode()], partitions)
    log.append(home, value, key=customer.encode())


def tick(log: MemoryLog, partitions: int, today: int) -> None:
    for partition in range(partitions):
        log.append(partition, activity.tick(day(today)))


async def _judged(arena: ChaosEnvironment) -> Found:
    """Wait until everything is consumed, what was sent on included; compare the states."""
    async with asyncio.timeout(LIMIT_S):
        while await arena.consumed() < len(await arena.place.read("activity")):  # noqa: ASYNC110
            await asyncio.sleep(0.5)
    await arena.finished()
    found, rows = Found(), await table(arena.place.engine, "customer_state")
    stored = {row["customer_id"]: row["state"] for row in rows if row["partition"] >= 0}
    wanted = states(list(arena.story.happenings))
    for customer in sorted(stored.keys() - wanted.keys()):
        found.wrong.append(f"{customer} is still a customer of its own")
    for customer, ought in sorted(wanted.items()):
        if customer not in stored:
            found.wrong.append(f"no state of {customer}")
        elif not equal(is_ := from_bytes([stored[customer]]), ought):
            more = float(is_["counts"].sum() - ought["counts"].sum())
            found.lost += int(max(0.0, -more))
            found.duplicated += int(max(0.0, more))
            found.wrong.append(f"the state of {customer} differs")
    return found
