"""Keeps the promoted model in memory: the rule until there is one, a swap when it changes.

A swap replaces one reference between two turns: no turn sees half of each.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol

import structlog

from services.scoring.ports import Predictor
from shared.kernel.errors import Transient
from shared.runtime.service import Stop

log = structlog.get_logger(__name__)


class Promoted(Protocol):
    """A registry row: which artefact serves."""

    @property
    def version(self) -> str: ...
    @property
    def digest(self) -> str: ...


class Registry(Protocol):
    """Says which model serves."""

    async def serving(self) -> Promoted | None: ...


class Artefacts(Protocol):
    """Gives the bytes behind a digest."""

    def get(self, name: str) -> bytes: ...


class Serving:
    """The predictor of this process."""

    def __init__(
        self,
        registry: Registry,
        artefacts: Artefacts,
        load: Callable[[bytes], Predictor],
        fallback: Predictor,
        poll_s: float,
    ) -> None:
        self._registry = registry
        self._artefacts = artefacts
        self._load = load
        self._predictor = fallback
        self._poll_s = poll_s
        self.checked = False

    def current(self) -> Predictor:
        """The predictor to use now."""
        return self._predictor

    async def refresh(self) -> None:
        """Load the promoted model if it is not the one in use.

        Raises Invalid when its artefact is missing, damaged or of another feature set.
        """
        row = await self._registry.serving()
        if row is not None and row.version != self._predictor.version:
            data = await asyncio.to_thread(self._artefacts.get, row.digest)
            self._predictor = await asyncio.to_thread(self._load, data)
            log.info("model serves", version=row.version)
        self.checked = True

    async def watch(self, stop: Stop) -> None:
        """Refresh until stopped; keeps the model in use while PostgreSQL is away."""
        while not await stop.wait(self._poll_s):
            try:
                await self.refresh()
            except Transient as trouble:
                log.warning("model registry not reached", trouble=str(trouble))
