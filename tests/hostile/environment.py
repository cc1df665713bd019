"""The real stack and services, with an observer that checks them continuously."""

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

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


@dataclass(slots=True)
class Watched:
    """What was seen of one service's memory."""

    memory_max: int = 0
    """Bytes of resident memory, the most."""
    memory_first: int = 0


@dataclass(slots=True)
class HostileEnvironment:
    """Where the hostile ones come."""

    stack: LocalStack
    services: Services
    tokens: dict[str, str]
    watched: dict[str, Watched] = field(default_factory=dict)

    @classmethod
    @asynccontextmanager
    async def open(
        cls, folder: Path, environ: Mapping[str, str]
    ) -> AsyncIterator["HostileEnvironment"]:
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
        """Weigh each, all the while."""
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
        while True:
            with contextlib.suppress(psutil.Error):
                now = process.memory_info().rss
                seen.memory_first = seen.memory_first or now
                seen.memory_max = max(seen.memory_max, now)
            await asyncio.sleep(LOOK_S)
