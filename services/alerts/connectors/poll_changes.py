"""Looks at CRMs for what owners did with their tasks, and gives the verdicts.

The only way by which a CRM's record becomes a verdict, whoever rang: a notification only makes
the next look come sooner, so that nothing is believed that was not read, and a notification that
never came costs minutes and loses nothing. The same change read twice changes nothing.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol, TypeVar

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from services.alerts import metrics
from services.alerts.connectors.core.verdict_mapping import CrmRecord
from services.alerts.connectors.ports import (
    ChangeReader,
    Poll,
    Polls,
)
from services.alerts.delivery.core.endpoint import Endpoint
from services.alerts.delivery.core.retry import Answer
from services.alerts.handlers.give_verdict import Conflict, GiveVerdict
from services.alerts.handlers.wait_for_signal import heard
from services.alerts.ports import (
    VerdictGiven,
)
from shared.kernel.errors import Invalid, Transient
from shared.postgres.engine import UnitOfWork, unit_of_work
from shared.runtime.backoff import Backoff
from shared.runtime.clock import Clock
from shared.runtime.health import Health
from shared.runtime.isolation import ItemIsolation
from shared.runtime.service import Stop

KINDS: Final = frozenset({"zoho", "fxiaoke"})
"""Endpoints that can be asked what changed."""

OVERLAP: Final = timedelta(minutes=2)
"""Read again before the mark: for the CRM's clock and for records that its index shows late."""

LEASE: Final = timedelta(minutes=2)
"""How long a look is left to its process; 25 pages in 15 s each would be slow already."""

POLL_S: Final = 5.0
"""How often it is seen whether a look is due that nobody in this process announced."""

AT_ONCE_MAX: Final = 4
"""Looks under way at once in one process: few connections to PostgreSQL, yet a slow CRM leaves
room for the others."""

DRAIN_S: Final = 5.0
"""How long looks under way may take once the service is to end; it has 8 s in all."""

NAME: Final = "looks"

T = TypeVar("T")

log = structlog.get_logger(__name__)


class Sendable(Protocol):
    """The endpoints that are neither paused nor switched off."""

    async def sendable(self, work: UnitOfWork) -> Sequence[Endpoint]: ...


class Readers(Protocol):
    """The reader of an endpoint's changes, and how often to look."""

    def reader(self, endpoint: Endpoint) -> ChangeReader: ...
    def every_s(self, endpoint: Endpoint) -> float: ...


class PollChanges:
    """The loop: one per process, safe beside others'."""

    def __init__(  # noqa: PLR0913 (wiring: each is one collaborator)
        self,
        engine: AsyncEngine,
        *,
        endpoints: Sendable,
        readers: Readers,
        looks: Polls,
        give_verdict: GiveVerdict,
        clock: Clock,
        health: Health,
        rung: asyncio.Event,
        careful: ItemIsolation,
    ) -> None:
        self._engine = engine
        self._endpoints, self._readers, self._looks = endpoints, readers, looks
        self._give_verdict = give_verdict
        self._clock, self._health, self._rung = clock, health, rung
        self._careful = careful

    async def __call__(self, stop: Stop) -> None:
        """Run until `stop`."""
        backoff = Backoff()
        while not stop:
            self._health.beat(NAME)
            try:
                await self._turn_or(stop)
                backoff.reset()
                await heard(self._rung, stop, POLL_S)
            except Transient as trouble:
                log.warning("waiting", loop=NAME, trouble=str(trouble))
                await stop.wait(backoff.next())
        self._health.ended(NAME)

    async def turn(self) -> None:
        """Make every look that is due. Raises Transient when PostgreSQL is not there."""
        async with unit_of_work(self._engine) as work:
            endpoints = await self._endpoints.sendable(work)
        at_once = asyncio.Semaphore(AT_ONCE_MAX)
        # Side by side, each to its end: one CRM that is slow or away delays no other.
        ended = await asyncio.gather(
            *(self._one(each, at_once) for each in endpoints if each.kind in KINDS),
            return_exceptions=True,
        )
        for trouble in ended:
            if trouble is not None:
                raise trouble

    async def _turn_or(self, stop: Stop) -> None:
        """A turn; one that lasts when the service is to end is given up, and made by another."""
        turn, stopping = asyncio.create_task(self.turn()), asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({turn, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not turn.done():
                await asyncio.wait({turn}, timeout=DRAIN_S)
            if turn.done():
                turn.result()
        finally:
            for task in (turn, stopping):
                task.cancel()
            await asyncio.gather(turn, stopping, return_exceptions=True)

    async def _one(self, endpoint: Endpoint, at_once: asyncio.Semaphore) -> None:
        async with at_once:
            now = self._clock.now()
            look = await self._looks.begin(endpoint.id, now, now + LEASE)
            if look is not None:
                await self._with_care(endpoint, look, now)
                self._health.beat(NAME)

    async def _with_care(self, endpoint: Endpoint, look: Poll, now: datetime) -> None:
        """A look on which process after process ends is set aside: of each endpoint by itself,
        since they are made side by side."""

        async def do(_: Sequence[str]) -> None:
            try:
                await self._look(endpoint, look, now)
            except Invalid as wrong:  # the sender switches it off, with the same reason
                log.warning("cannot look", endpoint=endpoint.id, trouble=str(wrong))
            except Transient:
                raise
            except Exception:  # a fault that this CRM's answers bring out: the others go on
                metrics.LOOKS.labels(endpoint.id, "failed").inc()
                log.exception("look met a fault", endpoint=endpoint.id)

        await self._careful.each(f"look {endpoint.id}", [endpoint.id], do)

    async def _look(self, endpoint: Endpoint, look: Poll, now: datetime) -> None:
        reader = self._readers.reader(endpoint)
        watched_until = await self._watched(endpoint, reader, look, now)
        found = await _with_token(reader, now, lambda: reader.changes(look.since - OVERLAP))
        since = look.since
        if isinstance(found, Answer):
            metrics.LOOKS.labels(endpoint.id, "failed").inc()
            log.warning("cannot read changes", endpoint=endpoint.id, trouble=found.error)
        else:
            metrics.LOOKS.labels(endpoint.id, "done").inc()
            await self._give(endpoint, reader, found)
            since = max([since, *(_at(each, now) for each in found)])
        next_at = now + timedelta(seconds=self._readers.every_s(endpoint))
        await self._looks.end(endpoint.id, Poll(since, look.until, watched_until), next_at)

    async def _watched(
        self, endpoint: Endpoint, reader: ChangeReader, look: Poll, now: datetime
    ) -> datetime | None:
        """Until when the CRM tells of changes, after renewing that if it is time."""
        asked = await _with_token(reader, now, lambda: reader.watch(now, look.watched_until))
        if isinstance(asked, Answer):
            log.warning("no notifications", endpoint=endpoint.id, trouble=asked.error)
            return look.watched_until
        return asked

    async def _give(
        self, endpoint: Endpoint, reader: ChangeReader, found: Sequence[CrmRecord]
    ) -> None:
        for record in found:
            try:
                outcome = await self._give_one(endpoint, reader, record)
            except Transient:
                raise
            except Exception:  # a fault that this record brings out: the others are read
                outcome = "set_aside"
                log.exception("record set aside", endpoint=endpoint.id, record=record.remote_id)
            if outcome is not None:
                metrics.WAY_BACK.labels(endpoint.id, outcome).inc()

    async def _give_one(
        self, endpoint: Endpoint, reader: ChangeReader, record: CrmRecord
    ) -> str | None:
        """What came of a record; None where it says nothing yet."""
        said = reader.said(record)
        if said is None:
            return None
        given = await self._give_verdict(
            VerdictGiven(record.key, said.verdict, None, said.leaving_cause, endpoint.id)
        )
        if given is None:
            return "unknown_task"
        return "conflict" if isinstance(given, Conflict) else "taken"


async def _with_token(
    reader: ChangeReader, at: datetime, step: Callable[[], Awaitable[T | Answer]]
) -> T | Answer:
    """A step and, where it says that the token has ended, a new token and the step again."""
    first = await step()
    if not isinstance(first, Answer) or first.result != "refresh_token":
        return first
    trouble = await reader.refresh(at)
    return await step() if trouble is None else trouble


def _at(record: CrmRecord, now: datetime) -> datetime:
    """When the record changed; not later than now, whatever the CRM's clock says: a mark in the
    future would pass over what changes until then."""
    now_ms = now.timestamp() * 1000
    return datetime.fromtimestamp(min(max(record.modified_ms, 0), now_ms) / 1000, UTC)
