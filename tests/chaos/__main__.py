"""`make chaos`: kill services of the real system in mid-replay, and judge by a calm run.

    python -m tests.chaos [--times N] [--households N] [--days N] [--output build/chaos.json]

One line per fault: how often it was injected while work was under way, what was lost, doubled or
falsely raised, and how long the system took to come to rest. Exit status 1 unless every fault was
injected and left no trace.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from os import environ
from pathlib import Path

import asyncpg
import numpy as np
from numpy.typing import NDArray

from deploy.demo.backlog import INGEST, SCORING
from deploy.demo.dataset import BACKFILL_END, History, load
from deploy.demo.replayer import days
from tests.e2e.world import World

FAULTS: dict[str, tuple[str, ...]] = {
    "ingest killed": ("ingest",),
    "scoring killed": ("scoring",),
    "alerts killed": ("alerts",),
    "all three killed": ("ingest", "scoring", "alerts"),
}
TOLERANCE = 1e-9
"""Of a state's numbers: sums of the same events in other batches differ in the last digits."""
REST_S_MAX = 300.0
"""Until everything is delivered after a run, leases of killed senders included."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run left behind."""

    broker: str
    keys: int
    """Events that had their effect."""
    events: int
    """Rows of the event history."""
    customers: list[str]
    states: NDArray[np.void]
    tasks: set[tuple[object, ...]]
    webhooks: set[str]
    injected: int
    """Kills while records were waiting for a service."""
    rest_s: float
    """From the last kill to rest."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One fault's line."""

    fault: str
    times: int
    lost: int
    duplicated: int
    false_alerts: int
    states_equal: bool
    tasks_equal: bool
    recovery_s: float
    ok: bool


async def play(history: History, count: int, victims: Sequence[str], times: int) -> Outcome:
    """Load and replay; kill the victims `times` times, spread over the live part."""
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
    """A temporary folder that PostgreSQL's unprivileged user may enter, too."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        path.chmod(0o755)
        yield path


def judge(fault: str, calm: Outcome, rough: Outcome) -> Verdict:
    """The rough run against the calm one."""
    states_equal = rough.customers == calm.customers and all(
        np.allclose(rough.states[n], calm.states[n], TOLERANCE, TOLERANCE, equal_nan=True)
        for n in calm.states.dtype.names or ()
    )
    lost = max(0, calm.keys - rough.keys) + len(calm.webhooks - rough.webhooks)
    duplicated = rough.events - rough.keys
    false_alerts = len(rough.tasks - calm.tasks)
    tasks_equal = rough.tasks == calm.tasks and bool(calm.tasks)
    clean = not (lost or duplicated or false_alerts)
    return Verdict(
        fault=fault,
        times=rough.injected,
        lost=lost,
        duplicated=duplicated,
        false_alerts=false_alerts,
        states_equal=states_equal,
        tasks_equal=tasks_equal,
        recovery_s=round(rough.rest_s, 1),
        ok=clean and states_equal and tasks_equal and rough.injected > 0,
    )


async def run(times: int, households: int, count: int) -> tuple[str, list[Verdict]]:
    """Run everything; returns which broker served, and the verdicts."""
    history = load(households)
    print(f"calm run: {households} households, {count} days", flush=True)
    calm = await play(history, count, (), 0)
    verdicts = []
    for fault, victims in FAULTS.items():
        verdict = judge(fault, calm, await play(history, count, victims, times))
        verdicts.append(verdict)
        print(
            f"{'ok  ' if verdict.ok else 'FAIL'} {fault:<18} injected {verdict.times} of {times}, "
            f"lost {verdict.lost}, doubled {verdict.duplicated}, false tasks "
            f"{verdict.false_alerts}, states equal: {verdict.states_equal}, tasks equal: "
            f"{verdict.tasks_equal}, at rest after {verdict.recovery_s} s",
            flush=True,
        )
    return calm.broker, verdicts


def main() -> int:
    """Parse, run, write the file; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos")
    parser.add_argument("--times", type=int, default=5, help="kills per fault")
    parser.add_argument("--households", type=int, default=200)
    parser.add_argument("--days", type=int, default=60)
    parser.add_argument("--output", type=Path, default=Path("build/chaos.json"))
    given = parser.parse_args()
    broker, verdicts = asyncio.run(run(given.times, given.households, given.days))
    given.output.parent.mkdir(parents=True, exist_ok=True)
    found = {"broker": broker, "faults": [asdict(verdict) for verdict in verdicts]}
    given.output.write_text(json.dumps(found, indent=2) + "\n")
    return 0 if all(verdict.ok for verdict in verdicts) else 1


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


if __name__ == "__main__":
    sys.exit(main())
