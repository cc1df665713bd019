"""Keeps the promoted model and its challenger in memory, and swaps them with the registry.

A swap replaces one reference between two batches, so no batch uses two models. The serving model is
replaced only after its successor is completely loaded.
"""

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Protocol

import structlog

from services.scoring import metrics
from services.scoring.ports import Predictor
from shared.kernel.errors import Invalid
from shared.runtime.loop import repeat
from shared.runtime.service import Stop

log = structlog.get_logger(__name__)

OTHER_RELEASE = "artefact.feature"
"""Prefix of the error's field where an artefact is refused for another feature set."""


class Promoted(Protocol):
    """Registry row of a model: its version and the digest of its artefact."""

    @property
    def version(self) -> str: ...
    @property
    def digest(self) -> str: ...
    @property
    def created_at(self) -> datetime: ...


class Registry(Protocol):
    """Reads which model serves and which one is the challenger."""

    async def serving(self) -> Promoted | None: ...
    async def shadow(self) -> Promoted | None: ...


class Artefacts(Protocol):
    """Reads the bytes of an artefact by digest."""

    def get(self, name: str) -> bytes: ...


class ModelServing:
    """Predictors of this process."""

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
        self._fallback = fallback
        self._predictor = fallback
        self._challenger: Predictor | None = None
        self._refused: dict[str, str] = {}
        """Models of other feature sets, with the reason why they cannot serve."""
        self._refused_challengers: set[str] = set()
        self._poll_s = poll_s
        self.checked = False
        self.made_at: datetime | None = None
        """When the serving model was made, UTC; None while the rule serves."""
        self.unusable: str | None = None
        """Why the promoted model does not serve; None while it serves or no model is promoted."""

    @property
    def damaged(self) -> str | None:
        """Why the promoted model cannot be read, where it was made for this release; else None."""
        other_release = self.unusable in self._refused.values()
        return None if other_release else self.unusable

    def current(self) -> Predictor:
        """Returns the predictor to use now."""
        return self._predictor

    def challenger(self) -> Predictor | None:
        """Returns the shadow model, or None; its scores are stored and never published."""
        return self._challenger

    async def refresh(self) -> None:
        """Loads the models that the registry names, if they are not in use.

        A model that cannot be read does not stop the service: the predictor in use (at first the
        rule) goes on, and `unusable` and the metric report it. A missing or damaged artefact
        is tried again at each refresh. A model made for another feature set cannot serve in this
        release: the rule serves until a model is trained.
        """
        row = await self._registry.serving()
        if row is None:
            self._swap(self._fallback)
            self._note_usable(None)
        elif row.version == self._predictor.version:
            self._note_usable(None)
        elif row.version in self._refused:
            self._swap(self._fallback)
            self._note_usable(self._refused[row.version])
        else:
            try:
                self._swap(await self._loaded(row))
                self._note_usable(None)
            except Invalid as invalid:
                why = f"{row.version}: {invalid}"
                if invalid.field.startswith(OTHER_RELEASE):
                    self._refused[row.version] = why
                    self._swap(self._fallback)
                self._note_usable(why)
        serves = row is not None and row.version == self._predictor.version
        if serves or self._predictor is self._fallback:
            self.made_at = row.created_at if row is not None and serves else None
        self.checked = True
        await self._refresh_challenger()

    async def watch(self, stop: Stop) -> None:
        """Refreshes until stopped; the model in use stays while PostgreSQL is unreachable."""
        await repeat(self.refresh, stop, "model registry", self._poll_s)

    async def _refresh_challenger(self) -> None:
        """Loads the challenger; one that cannot be read is ignored and never stops the champion."""
        row = await self._registry.shadow()
        if row is None:
            self._challenger = None
        elif self._challenger is None or row.version != self._challenger.version:
            if row.version in self._refused_challengers:
                return
            try:
                self._challenger = await self._loaded(row)
                log.info("challenger scores beside", version=row.version)
            except Invalid as invalid:
                self._refused_challengers.add(row.version)
                self._challenger = None
                log.warning("challenger cannot be read", version=row.version, why=str(invalid))

    async def _loaded(self, row: Promoted) -> Predictor:
        data = await asyncio.to_thread(self._artefacts.get, row.digest)
        return await asyncio.to_thread(self._load, data)

    def _note_usable(self, why_not: str | None) -> None:
        if why_not is not None and why_not != self.unusable:
            log.warning("promoted model cannot serve", why=why_not)
        self.unusable = why_not
        metrics.MODEL_UNUSABLE.set(0 if why_not is None else 1)

    def _swap(self, to: Predictor) -> None:
        if to.version != self._predictor.version:
            log.info("model serves", version=to.version, before=self._predictor.version)
        self._predictor = to
