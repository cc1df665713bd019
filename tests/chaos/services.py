"""All three services killed during the replay of a real history, compared with a calm run."""

import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from os import environ
from pathlib import Path

import asyncpg
import numpy as np
from numpy.typing import NDArray

from deploy.demo.backlog import INGEST, SCORING
from deploy.demo.dataset import BACKFILL_END, PanelHistory, load
from deploy.demo.replayer import days
from tests.chaos.report import Found, Verdict
from tests.e2e.services_on_history import World

FAULTS: dict[str, tuple[str, ...]] = {
    "ingest killed": ("ingest",),
    "scoring killed": ("scoring",),
    "alerts killed": ("alerts",),
    "all three killed": ("ingest", "scoring", "alerts"),
}
TOLERANCE = 1e-9
"""Tolerance of a state's numbers: sums of the same events in other batches differ in the last
digits."""
REST_S_MAX = 300.0
"""Seconds until everything is delivered after a run, leases of killed senders included."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of a run."""

    broker: str
    keys: int
    """Number of events that had their effect."""
    events: int
    """Number of rows of the event history."""
    customers: list[str]
    states: NDArray[np.void]
    tasks: set[tuple[object, ...]]
    webhooks: set[str]
    injected: int
    """Number of kills while records were waiting for a service."""
    rest_s: float
    """Seconds from the last kill until nothing is left to do."""


async def play(history: PanelHistory, count: int, victims: Sequence[str], times: int) -> Outcome:
    """Loads and replays; kills the victims `times` times, spread over the live part."""
    live = days(history.since(BACKFILL_END).stream(), BACKFILL_END, count)
    total = sum(len(day.bodies) for day in live)
    due = [total * (n + 1) / (times + 1) for n in range(times)]
    injected, last = 0, time.monotonic()
    with public_folder() as folder:
        async with World.open(folder, environ) as world:

            async def disturb(sent: int) -> None:
                nonlocal injected, last
                if not due or sent < due[0]:
                    return
                due.pop(0)
                for name in victims:
                    world.services.kill(name)
                injected += await world.backlog.behind(INGEST, SCORING) > 0
                last = time.monotonic()
                world.stack.forget_dead_members()
                world.services.start(*victims)

            await world.load(history)
            await world.replay(history, count, disturb)
            await world.settled()
            await world.services.wait(
                lambda: _delivered(world.database_url), "every delivery to end", REST_S_MAX
            )
            return await _outcome(world, injected, time.monotonic() - last)


@contextmanager
def public_folder() -> Iterator[Path]:
    """Creates a temporary folder that PostgreSQL's unprivileged user may enter, too."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        path.chmod(0o755)
        yield path


def judge(fault: str, calm: Outcome, rough: Outcome) -> Verdict:
    """Compares the rough run with the calm one."""
    found = Found(
        lost=max(0, calm.keys - rough.keys) + len(calm.webhooks - rough.webhooks),
        duplicated=rough.events - rough.keys,
        false_alerts=len(rough.tasks - calm.tasks),
    )
    states_equal = rough.customers == calm.customers and all(
        np.allclose(rough.states[n], calm.states[n], TOLERANCE, TOLERANCE, equal_nan=True)
        for n in calm.states.dtype.names or ()
    )
    if not states_equal:
        found.wrong.append("states differ")
    if rough.tasks != calm.tasks or not calm.tasks:
        found.wrong.append("tasks differ")
    return Verdict.of(fault, rough.injected, rough.rest_s, found)


async def run(
    times: int, broker: str, households: int = 200, count: int = 60
) -> AsyncIterator[Verdict]:
    """Runs every fault of `FAULTS`; yields one verdict each."""
    if broker == "embedded":
        for fault in FAULTS:
            yield Verdict.not_run(fault, "the embedded broker keeps a killed consumer's partitions")
        return
    history = load(households)
    calm = await play(history, count, (), 0)
    for fault, victims in FAULTS.items():
        yield judge(fault, calm, await play(history, count, victims, times))


async def _delivered(database_url: str) -> bool:
    query = "SELECT count(*) FROM alerts.delivery WHERE status = 'pending'"
    return await _count(database_url, query) == 0


async def _count(database_url: str, query: str) -> int:
    connection = await asyncpg.connect(database_url)
    try:
        return int(await connection.fetchval(query))
    finally:
        await connection.close()


async def _outcome(world: World, injected: int, rest_s: float) -> Outcome:
    customers, states = await world.states()
    return Outcome(
        broker=world.stack.broker,
        keys=await _count(world.database_url, "SELECT count(*) FROM scoring.event_key"),
        events=await _count(world.database_url, "SELECT count(*) FROM scoring.event"),
        customers=customers,
        states=states,
        tasks=set(await world.tasks()),
        webhooks={message.webhook_id for message in await world.received()},
        injected=injected,
        rest_s=rest_s,
    )
