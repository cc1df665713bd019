"""Reads how the serving model was made, for monitoring: read once, then kept."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import msgspec

from services.scoring.core.monitoring.outcomes import PROMISED_SEGMENTS, GroupQuality
from services.scoring.model import reference
from services.scoring.model.reference import Reference
from services.scoring.model.store import ArtefactStore
from services.scoring.store.models import ModelRow

_MEASURES: Final = (
    "rows", "base_rate", "base_rate", "roc_auc", "log_loss", "ece", "lift_at_10",
)  # fmt: skip
"""Names in a card of what `GroupQuality` has, in its order; the card does not keep the expected."""


class Background:
    """Background of the serving model; empty for other versions (the rule has none)."""

    def __init__(
        self, serving: Callable[[], Awaitable[ModelRow | None]], artefacts: ArtefactStore
    ) -> None:
        self._serving = serving
        self._artefacts = artefacts
        self._row: ModelRow | None = None
        self._reference: tuple[str, Reference] | None = None

    async def reference(self, version: str) -> Reference | None:
        """Return rows that the model learned from. Raises Invalid if they have other features."""
        row = await self._found(version)
        if row is None or row.reference_digest is None:
            return None
        if self._reference is None or self._reference[0] != row.reference_digest:
            data = await asyncio.to_thread(self._artefacts.get, row.reference_digest)
            self._reference = (row.reference_digest, reference.loads(data))
        return self._reference[1]

    async def importance(self, version: str) -> dict[str, float]:
        """Return the share of the gain by feature, for the strongest features."""
        return dict((await self._report(version)).get("importance") or {})

    async def promised(self, version: str) -> Mapping[str, GroupQuality]:
        """Return the measures of the card's backtest, by segment of model monitoring.

        Empty for versions without a card (the rule, a prior) or without a backtest.
        """
        card = (await self._report(version)).get("card", {})
        found = {}
        for segment, name in PROMISED_SEGMENTS.items():
            measured = card.get("validation", {}).get(name, {})
            values = [measured.get(column) for column in _MEASURES]
            if values and None not in values:
                found[segment] = GroupQuality(segment, *values)
        return found

    async def _report(self, version: str) -> dict[str, Any]:
        row = await self._found(version)
        found: dict[str, Any] = {} if row is None else msgspec.json.decode(row.report)
        return found

    async def _found(self, version: str) -> ModelRow | None:
        if self._row is None or self._row.version != version:
            self._row = await self._serving()
        return self._row if self._row is not None and self._row.version == version else None
