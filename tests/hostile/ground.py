"""The real stack and the real services, watched during the whole run."""

import asyncio
import base64
import contextlib
import time
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
"""Seconds between two checks of each service."""

TIMEOUT_S: Final = 2.0
"""Seconds for an attempt to deliver, instead of 15: a dripping answer then costs the run little."""

SETTINGS: Final = {
    "EBBWATCH_INGEST_FLOOD_SHARE_MAX": "2",
    "EBBWATCH_ALERTS_DELIVERY_TIMEOUT_S": str(TIMEOUT_S),
    "EBBWATCH_ALERTS_DELIVERY_DELAYS_S": "[0, 1, 2, 4, 8, 16, 32, 64]",
    "EBBWATCH_ALERTS_SECRET_KEYS": base64.b64encode(b"k" * 32).decode(),
}
"""Settings for the run. Nearly all records are refused here, which would stop the intake before it
reads the rest; hostile answers lead to retries within the run; connectors' secrets can be
stored."""

STALL_S_MAX: Final = 1.0
"""An answer of `/livez` that takes longer is a stall."""


@dataclass(slots=True)
class Watched:
    """Observations of one service."""

    looks: int = 0
    slowest_s: float = 0.0
    stalls: int = 0
    memory_max: int = 0
    """Largest resident memory, bytes."""
    memory_first: int = 0


@dataclass(slots=True)
class Ground:
    """The environment of the attacks."""

    stack: LocalStack
    services: Services
    tokens: dict[str, str]
    watched: dict[str, Watched] = field(default_factory=dict)

    @classmethod
    @asynccontextmanager
    async def open(cls, folder: Path, environ: Mapping[str, str]) -> AsyncIterator["Ground"]:
        """Start everything and wait until it is ready; on exit everything has ended."""
        with LocalStack(folder, wipe=True, environ=environ) as stack:
            await topics.create(stack.kafka.settings)
            with Services(folder, stack.environment() | SETTINGS, clock="live") as services:
                tokens = services.prepare()
                services.start(*NAMES)
                await services.ready(*NAMES)
                yield cls(stack, services, tokens)

    def dead(self) -> list[str]:
        """Return the services that have ended."""
        return [name for name in NAMES if not self.services.runs(name)]

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Check `/livez` and the memory of each service within the block."""
        watchers = [asyncio.create_task(self._watch(name)) for name in NAMES]
        try:
            yield
        finally:
            for watcher in watchers:
                watcher.cancel()
            await asyncio.gather(*watchers, return_exceptions=True)

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
                seen.stalls += took > STALL_S_MAX
                with contextlib.suppress(psutil.Error):
                    now = process.memory_info().rss
                    seen.memory_first = seen.memory_first or now
                    seen.memory_max = max(seen.memory_max, now)
                await asyncio.sleep(LOOK_S)
