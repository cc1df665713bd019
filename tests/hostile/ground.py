"""The real stack and the real services, and somebody who looks at them all the while."""

import asyncio
import base64
import contextlib
import time
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import httpx
import psutil

from deploy.demo.services import NAMES, Services
from deploy.local import topics
from deploy.local.stack import LocalStack

LOOK_S: Final = 0.1
"""Between two looks at each service."""

TIMEOUT_S: Final = 2.0
"""Of an attempt to deliver, instead of 15: a dripping answer then costs the run little."""

SETTINGS: Final = {
    "EBBWATCH_INGEST_FLOOD_SHARE_MAX": "2",
    "EBBWATCH_ALERTS_DELIVERY_TIMEOUT_S": str(TIMEOUT_S),
    "EBBWATCH_ALERTS_DELIVERY_DELAYS_S": "[0, 1, 2, 4, 8, 16, 32, 64]",
    "EBBWATCH_ALERTS_SECRET_KEYS": base64.b64encode(b"k" * 32).decode(),
}
"""Nearly all that comes is refused here, which would stop the intake before it reads the rest; what
is answered with hostility is tried again within the run; connectors' secrets can be stored."""

TICK_S: Final = 0.02
"""Between two turns of the observer by which it notices that it stood still itself."""

STILL_KEPT: Final = 10_000

STALL_S_MAX: Final = 1.0
"""An answer of `/livez` that takes longer is a stall."""


@dataclass(slots=True)
class Watched:
    """What was seen of one service."""

    looks: int = 0
    slowest_s: float = 0.0
    stalls: int = 0
    stalled: list[str] = field(default_factory=list)
    """Of each stall: the phase, how long, and how long the observer itself stood still meanwhile,
    as it does where the machine gives neither of them a turn."""
    memory_max: int = 0
    """Bytes of resident memory, the most."""
    memory_first: int = 0


@dataclass(slots=True)
class Ground:
    """Where the hostile ones come."""

    stack: LocalStack
    services: Services
    tokens: dict[str, str]
    watched: dict[str, Watched] = field(default_factory=dict)
    phase: str = "start"
    """Of the run, for the report."""
    still: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=STILL_KEPT))
    """When the observer itself was late for its turn, and by how many seconds."""

    @classmethod
    @asynccontextmanager
    async def open(cls, folder: Path, environ: Mapping[str, str]) -> AsyncIterator["Ground"]:
        """Everything started and ready; everything ended when it is left."""
        with LocalStack(folder, wipe=True, environ=environ) as stack:
            await topics.create(stack.kafka.settings)
            with Services(folder, stack.environment() | SETTINGS, clock="live") as services:
                tokens = services.prepare()
                services.start(*NAMES)
                await services.ready(*NAMES)
                yield cls(stack, services, tokens)

    def dead(self) -> list[str]:
        """Services that have ended."""
        return [name for name in NAMES if not self.services.runs(name)]

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Ask `/livez` of each and weigh it, all the while."""
        watchers = [asyncio.create_task(self._watch(name)) for name in NAMES]
        watchers.append(asyncio.create_task(self._watch_itself()))
        try:
            yield
        finally:
            for watcher in watchers:
                watcher.cancel()
            await asyncio.gather(*watchers, return_exceptions=True)

    async def _watch_itself(self) -> None:
        while True:
            due = time.monotonic() + TICK_S
            await asyncio.sleep(TICK_S)
            if (late := time.monotonic() - due) > TICK_S:
                self.still.append((time.monotonic(), late))

    async def _watch(self, name: str) -> None:
        seen = self.watched.setdefault(name, Watched())
        process = psutil.Process(self.services.pid(name))
        async with httpx.AsyncClient(timeout=30.0) as client:
            while True:
                began = time.monotonic()
                with contextlib.suppress(httpx.TransportError):
                    await client.get(f"{self.services.url(name)}/livez")
                took = time.monotonic() - began
                seen.looks += 1
                seen.slowest_s = max(seen.slowest_s, took)
                if took > STALL_S_MAX:
                    seen.stalls += 1
                    still = sum(late for at, late in self.still if at >= began)
                    seen.stalled.append(f"{self.phase}: {took:.2f} s, observer {still:.2f} s")
                with contextlib.suppress(psutil.Error):
                    now = process.memory_info().rss
                    seen.memory_first = seen.memory_first or now
                    seen.memory_max = max(seen.memory_max, now)
                await asyncio.sleep(LOOK_S)
