"""One run: every attack, and what is to be said of it."""

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from deploy.demo.backlog import ALERTS, INGEST, SCORING, Backlog
from deploy.demo.services import NAMES
from tests.hostile import attack
from tests.hostile.attack import Outcome
from tests.hostile.ground import Ground, Watched

MEMORY_MAX: Final = 700 * 1024 * 1024
"""Bytes of resident memory of a service throughout: some 250 MB at rest, 80 of bodies, and twice
that while they are parsed."""

READ_S_MAX: Final = 180.0
"""Until all that was sent has been read: 20,000 records of which each is refused for itself."""


class Profile(NamedTuple):
    """How much of it."""

    requests: int
    records: int


PROFILES: Final = {"short": Profile(300, 600), "long": Profile(5_000, 20_000)}


@dataclass(slots=True)
class Figures:
    """What came of a run."""

    outcomes: dict[str, Outcome] = field(default_factory=dict)
    watched: dict[str, Watched] = field(default_factory=dict)
    records: int = 0
    unread: int = 0
    """Records that nobody had read at the end."""
    dead: dict[str, str] = field(default_factory=dict)
    """Services that ended, and the end of their logs."""
    neighbours: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Good requests beside slow senders: how many, and how many were answered wrongly."""

    def wrong(self) -> list[str]:
        """What must not be; nothing where all is well."""
        found = [f"{name} died:\n{tail}" for name, tail in self.dead.items()]
        for name, seen in self.watched.items():
            if seen.stalls:
                found.append(f"{name}: /livez stalled {seen.stalls} times, {seen.slowest_s:.1f} s")
            if seen.memory_max > MEMORY_MAX:
                found.append(f"{name}: {seen.memory_max / 2**20:.0f} MB")
        if self.unread:
            found.append(f"{self.unread:,} records were not read within {READ_S_MAX:.0f} s")
        for name, outcome in self.outcomes.items():
            found += [f"{name}: 500 for {fault}" for fault in outcome.faults]
        for name, (sent, bad) in self.neighbours.items():
            if bad:
                found.append(f"{name}: {bad} of {sent} good requests failed beside slow senders")
        return found

    def lines(self) -> list[str]:
        """For a person."""
        told = [f"{self.records:,} hostile records taken by the broker"]
        for name in NAMES:
            outcome, seen = self.outcomes.get(name, Outcome()), self.watched.get(name, Watched())
            answers = " ".join(f"{code}:{n:,}" for code, n in sorted(outcome.answers.items()))
            told.append(
                f"{name:8} requests {outcome.answers.total() + outcome.unanswered:,}  "
                f"({answers}, closed:{outcome.unanswered})  died {int(name in self.dead)}  "
                f"/livez slowest {seen.slowest_s:.2f} s of {seen.looks:,}, stalls {seen.stalls}  "
                f"memory {seen.memory_first / 2**20:.0f} -> {seen.memory_max / 2**20:.0f} MB"
            )
        return told + self.wrong()


async def _read(ground: Ground) -> int:
    """Wait until every service has read all that there is; how much it has not."""
    behind = 0
    async with Backlog(ground.stack.kafka.settings) as backlog:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(READ_S_MAX):
                while not ground.dead():
                    behind = await backlog.behind(INGEST, SCORING, *ALERTS)
                    if not behind:
                        break
                    await asyncio.sleep(0.5)
    return behind


async def play(
    folder: Path, environ: Mapping[str, str], *, requests: int, records: int, seed: int
) -> Figures:
    """Every attack in turn, on servers of its own."""
    figures = Figures()
    async with Ground.open(folder, environ) as ground:
        async with ground.watching():
            figures.outcomes = await attack.all_of(ground, requests, seed)
            for name in NAMES:
                if name not in ground.dead():
                    figures.neighbours[name] = await attack.slow_senders(ground, name)
            figures.records = await attack.records(ground, records, seed)
            figures.unread = await _read(ground)
        figures.watched = ground.watched
        figures.dead = {name: ground.services.tail(name) for name in ground.dead()}
    return figures
