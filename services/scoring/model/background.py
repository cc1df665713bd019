"""How the serving model was made, for those who watch it: read once, then remembered."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import msgspec

from services.scoring.model import reference
from services.scoring.model.reference import Reference
from services.scoring.model.store import ArtefactStore


class Registered(Protocol):
    """What is read of a registry row."""

    @property
    def version(self) -> str: ...
    @property
    def report(self) -> str: ...
    @property
    def reference_digest(self) -> str | None: ...


class Background:
    """Of the model that serves; nothing of a version that does not (the rule has none)."""

    def __init__(
        self, serving: Callable[[], Awaitable[Registered | None]], artefacts: ArtefactStore
    ) -> None:
        self._serving = serving
        self._artefacts = artefacts
        self._row: Registered | None = None
        self._reference: tuple[str, Reference] | None = None

    async def reference(self, version: str) -> Reference | None:
        """Rows that it learned from. Raises Invalid where they were made for other features."""
        row = await self._found(version)
        if row is None or row.reference_digest is None:
            return None
        if self._reference is None or self._reference[0] != row.reference_digest:
            data = await asyncio.to_thread(self._artefacts.get, row.reference_digest)
            self._reference = (row.reference_digest, reference.loads(data))
        return self._reference[1]

    async def importance(self, version: str) -> dict[str, float]:
        """Share of the gain by feature, of the strongest."""
        return dict((await self._report(version)).get("importance") or {})

    async def trained_auc(self, version: str) -> float | None:
        """ROC-AUC over all customers in the backtest."""
        validation = (await self._report(version)).get("card", {}).get("validation", {})
        found: float | None = validation.get("all", {}).get("roc_auc")
        return found

    async def _report(self, version: str) -> dict[str, Any]:
        row = await self._found(version)
        found: dict[str, Any] = {} if row is None else msgspec.json.decode(row.report)
        return found

    async def _found(self, version: str) -> Registered | None:
        if self._row is None or self._row.version != version:
            self._row = await self._serving()
        return self._row if self._row is not None and self._row.version == version else None
