"""Keeps the promoted model and its challenger in memory, and swaps them when the registry changes.

A swap replaces one reference between two turns: no turn sees half of each. What serves is never
taken away before what replaces it has been loaded whole.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol

import structlog

from services.scoring import metrics
from services.scoring.ports import Predictor
from shared.kernel.errors import Invalid, Transient
from shared.runtime.service import Stop

log = structlog.get_logger(__name__)

OTHER_RELEASE = "artefact.feature"
"""Beginning of the field that an artefact made for other features is refused with."""


class Promoted(Protocol):
    """A registry row: which artefact serves."""

    @property
    def version(self) -> str: ...
    @property
    def digest(self) -> str: ...


class Registry(Protocol):
    """Says which model serves, and which one challenges it."""

    async def serving(self) -> Promoted | None: ...
    async def shadow(self) -> Promoted | None: ...


class Artefacts(Protocol):
    """Gives the bytes behind a digest."""

    def get(self, name: str) -> bytes: ...


class ModelServing:
    """The predictors of this process."""

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
        """Models of other feature sets, and why they cannot serve."""
        self._refused_challengers: set[str] = set()
        self._poll_s = poll_s
        self.checked = False
        self.unusable: str | None = None
        """Why the promoted model does not serve; None while it does, or none is promoted."""

    def current(self) -> Predictor:
        """The predictor to use now."""
        return self._predictor

    def challenger(self) -> Predictor | None:
        """The model that scores beside it, unheard."""
        return self._challenger

    async def refresh(self) -> None:
        """Load what the registry names if it is not in use.

        One that cannot be read ends nothing: what is in use goes on, at first the rule, and
        `unusable` and the metric say why. A missing or damaged artefact is looked for again at
        each refresh. A model made for another feature set cannot serve in this release: the
        rule does until one is trained.
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
        self.checked = True
        await self._refresh_challenger()

    async def watch(self, stop: Stop) -> None:
        """Refresh until stopped. While PostgreSQL is away, the model in use goes on."""
        while not await stop.wait(self._poll_s):
            try:
                await self.refresh()
            except Transient as trouble:
                log.warning("model registry not reached", trouble=str(trouble))

    async def _refresh_challenger(self) -> None:
        """A challenger that cannot be read is none: it must never stop the one that serves."""
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
