"""One run: every attack in turn, each beside a neighbour, and the same load without it."""

import asyncio
import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

from deploy.demo.backlog import ALERTS, INGEST, SCORING, Backlog
from deploy.demo.services import NAMES
from tests.hostile import attack
from tests.hostile.beside import Beside, beside
from tests.hostile.figures import READ_S_MAX, Figures
from tests.hostile.ground import Ground
from tests.hostile.remote import Remote, remote

SETTLE_S: Final = 3.0
"""Seconds after alerts was killed and started again, in which remaining deliveries are retried."""


class Profile(NamedTuple):
    """The size of a run."""

    requests: int
    """Requests to each service."""
    records: int
    answers: int
    calm_s: float
    """Seconds of each load without hostility."""


PROFILES: Final = {
    "short": Profile(300, 600, 200, 1.5),
    "long": Profile(5_000, 20_000, 3_000, 30.0),
}


async def play(folder: Path, environ: Mapping[str, str], *, profile: Profile, seed: int) -> Figures:
    """Runs every attack in turn, on its own servers."""
    figures = Figures()
    async with Ground.open(folder, environ) as ground:
        async with (
            ground.watching(),
            remote(ground, seed) as far,
            beside(ground) as neighbour,
        ):
            await _calm(ground, far, neighbour, profile)
            await _attack(ground, far, neighbour, profile, seed, figures)
        figures.neighbour = neighbour.seen
        figures.watched = ground.watched
        figures.answers, figures.results = far.receiver.by_kind, far.results
        figures.enabled, figures.misread = far.enabled, far.wrong
        figures.dead = {name: ground.services.tail(name) for name in ground.dead()}
        if not figures.dead:
            figures.dead = await _again(ground)
    return figures


async def _calm(ground: Ground, far: Remote, neighbour: Beside, profile: Profile) -> None:
    """Runs each load without hostility."""
    await neighbour.phase("idle")
    await asyncio.sleep(profile.calm_s)
    await neighbour.phase("ordinary requests")
    for name in NAMES:
        await attack.ordinary_requests(ground, name, profile.calm_s / len(NAMES))
    await neighbour.phase("good answers")
    await far.calm(profile.calm_s)
    await neighbour.phase("ordinary records")
    await attack.ordinary_records(ground, profile.records)
    await _read(ground)


async def _attack(
    ground: Ground,
    far: Remote,
    neighbour: Beside,
    profile: Profile,
    seed: int,
    figures: Figures,
) -> None:
    await neighbour.phase("hostile requests")
    figures.outcomes = await attack.all_of(ground, profile.requests, seed)
    await neighbour.phase("slow senders")
    for name in NAMES:
        if name not in ground.dead():
            seconds = profile.calm_s / len(NAMES)
            figures.slow[name] = await attack.slow_senders(ground, name, seconds)
    await neighbour.phase("hostile answers")
    await far.attack(profile.answers)
    await neighbour.phase("hostile records")
    figures.records = await attack.records(ground, profile.records, seed)
    figures.unread = await _read(ground)
    await neighbour.phase("afterwards")


async def _read(ground: Ground) -> int:
    """Waits until every service has read all present records; returns how many are unread.

    The neighbour goes on writing meanwhile.
    """
    behind = 0
    async with Backlog(ground.stack.kafka.settings) as backlog:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(READ_S_MAX):
                for stage in (INGEST, SCORING, *ALERTS):
                    ends = await backlog.ends(stage.topic)
                    behind = await backlog.before(ends, stage)
                    while behind and not ground.dead():
                        await asyncio.sleep(0.2)
                        behind = await backlog.before(ends, stage)
    return behind


async def _again(ground: Ground) -> dict[str, str]:
    """Kills and restarts alerts; returns the log's end of services that stored data has ended."""
    ground.services.kill("alerts")
    ground.services.start("alerts")
    await ground.services.ready("alerts")
    await asyncio.sleep(SETTLE_S)
    return {name: ground.services.tail(name) for name in ground.dead()}
