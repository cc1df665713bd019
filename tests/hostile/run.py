"""One run: each attack beside a neighbour, right after the same load without hostility."""

import asyncio
import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

from deploy.demo.backlog import ALERTS, INGEST, SCORING, Backlog
from deploy.demo.services import NAMES
from tests.hostile import attack
from tests.hostile.environment import HostileEnvironment
from tests.hostile.figures import CONTROLS, READ_S_MAX, Figures
from tests.hostile.neighbour_process import Beside, beside
from tests.hostile.remote import Remote, remote

SETTLE_S: Final = 3.0
"""After alerts was killed and started again: what the answers left behind is tried meanwhile."""


class Profile(NamedTuple):
    """How much of it."""

    requests: int
    """To each service."""
    records: int
    answers: int
    calm_s: float
    """Of each load without hostility."""


PROFILES: Final = {
    "short": Profile(300, 600, 200, 1.5),
    "long": Profile(5_000, 20_000, 3_000, 30.0),
}


async def play(folder: Path, environ: Mapping[str, str], *, profile: Profile, seed: int) -> Figures:
    """Every attack in turn, on servers of its own."""
    figures = Figures()
    async with HostileEnvironment.open(folder, environ) as environment:
        async with (
            environment.watching(),
            remote(environment, seed) as far,
            beside(environment) as neighbour,
        ):
            await _attacks(environment, far, neighbour, profile, seed, figures)
        figures.neighbour = neighbour.seen
        figures.watched = environment.watched
        figures.answers, figures.results = far.receiver.by_kind, far.results
        figures.enabled, figures.misread = far.enabled, far.wrong
        figures.dead = {name: environment.services.tail(name) for name in environment.dead()}
        if not figures.dead:
            figures.dead = await _again(environment)
    return figures


async def _attacks(
    environment: HostileEnvironment,
    far: Remote,
    neighbour: Beside,
    profile: Profile,
    seed: int,
    figures: Figures,
) -> None:
    """Every attack, each right after the same load without hostility: the machine's speed drifts.

    Hostile answers come last: what they refuse is tried again for minutes."""
    seconds = profile.calm_s / len(NAMES)
    await neighbour.phase(CONTROLS["slow senders"])
    for name in NAMES:
        await attack.slow_senders(environment, name, seconds, senders=0)
    await neighbour.phase("slow senders")
    for name in NAMES:
        figures.slow[name] = await attack.slow_senders(environment, name, seconds)
    await neighbour.phase(CONTROLS["hostile requests"])
    for name in NAMES:
        await attack.ordinary_requests(environment, name, seconds)
    await neighbour.phase("hostile requests")
    figures.outcomes = await attack.all_of(environment, profile.requests, seed)
    await neighbour.phase(CONTROLS["hostile records"])
    await attack.records(environment, attack.good_records(profile.records))
    await _read(environment)
    await neighbour.phase("hostile records")
    hostile = attack.hostile_records(profile.records, seed)
    figures.records = await attack.records(environment, hostile)
    figures.unread = await _read(environment)
    await neighbour.phase(CONTROLS["hostile answers"])
    await far.calm(profile.calm_s)
    await neighbour.phase("hostile answers")
    await far.attack(profile.answers)
    await neighbour.phase("afterwards")


async def _read(environment: HostileEnvironment) -> int:
    """Wait until every service has read all that there is now, beside which the neighbour goes on
    writing; how much it has not."""
    behind = 0
    async with Backlog(environment.stack.kafka.settings) as backlog:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(READ_S_MAX):
                for stage in (INGEST, SCORING, *ALERTS):
                    ends = await backlog.ends(stage.topic)
                    behind = await backlog.before(ends, stage)
                    while behind and not environment.dead():
                        await asyncio.sleep(0.2)
                        behind = await backlog.before(ends, stage)
    return behind


async def _again(environment: HostileEnvironment) -> dict[str, str]:
    """Kill alerts and start it again: nothing that it has stored ends it; else the log's end."""
    environment.services.kill("alerts")
    environment.services.start("alerts")
    await environment.services.ready("alerts")
    await asyncio.sleep(SETTLE_S)
    return {name: environment.services.tail(name) for name in environment.dead()}
