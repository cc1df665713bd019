"""Polls CRMs for what owners did with their tasks, and records the verdicts.

This is the only way from a CRM's record to a verdict: a notification only makes the next poll come
sooner, so that nothing is believed that was not read, and a lost notification costs minutes and
loses nothing. Reading the same change twice changes nothing.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final, Protocol, TypeVar

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from services.alerts import metrics
from services.alerts.connectors.core.config import RECORD_KINDS
from services.alerts.connectors.core.verdict_mapping import CrmRecord
from services.alerts.connectors.ports import ChangeReader, Poll
from services.alerts.connectors.store import PollRows
from services.alerts.delivery.core.endpoint import Endpoint
from services.alerts.delivery.core.retry import Answer
from services.alerts.delivery.store.endpoints import Endpoints
from services.alerts.handlers.give_verdict import Conflict, GiveVerdict
from services.alerts.ports import (
    VerdictGiven,
)
from shared.kernel.errors import Invalid, Transient
from shared.postgres.engine import unit_of_work
from shared.runtime.clock import Clock
from shared.runtime.health import Health
from shared.runtime.isolation import ItemIsolation
from shared.runtime.loop import repeat
from shared.runtime.service import Stop

OVERLAP: Final = timedelta(minutes=2)
"""Span before the mark that is read again: for the CRM's clock and for records that its index shows
late."""

LEASE: Final = timedelta(minutes=2)
"""How long a process holds a poll; 25 pages in 15 s each would be slow already."""

POLL_S: Final = 5.0
"""Seconds between checks for a due poll that no event in this process announced."""

AT_ONCE_MAX: Final = 4
"""Polls under way at once in one process: few connections to PostgreSQL, yet a slow CRM leaves
capacity for the others."""

DRAIN_S: Final = 5.0
"""Seconds that polls under way may take once the service is to end; it has 8 s in all."""

NAME: Final = "looks"

T = TypeVar("T")

log = structlog.get_logger(__name__)


class Readers(Protocol):
    """The reader of an endpoint's changes, and how often to poll."""

    def reader(self, endpoint: Endpoint) -> ChangeReader: ...
    def every_s(self, endpoint: Endpoint) -> float: ...


class PollChanges:
    """The polling loop: one per process, safe beside those of others."""

    def __init__(  # noqa: PLR0913 (wiring: each is one collaborator)
        self,
        engine: AsyncEngine,
        *,
        endpoints: Endpoints,
        readers: Readers,
        polls: PollRows,
        give_verdict: GiveVerdict,
        clock: Clock,
        health: Health,
        poll_requested: asyncio.Event,
        isolation: ItemIsolation,
    ) -> None:
        self._engine = engine
        self._endpoints, self._readers, self._polls = endpoints, readers, polls
        self._give_verdict = give_verdict
        self._clock, self._health, self._poll_requested = clock, health, poll_requested
        self._isolation = isolation

    async def __call__(self, stop: Stop) -> None:
        """Run until `stop`."""
        once, requested = partial(self._iterate_until, stop), self._poll_requested
        await repeat(once, stop, NAME, POLL_S, health=self._health, signal=requested, at_once=True)

    async def iterate(self) -> None:
        """Make every poll that is due. Raises Transient when PostgreSQL cannot be reached."""
        async with unit_of_work(self._engine) as work:
            endpoints = await self._endpoints.sendable(work)
        at_once = asyncio.Semaphore(AT_ONCE_MAX)
        # Concurrently, each to its end: one CRM that is slow or unreachable delays no other.
        ended = await asyncio.gather(
            *(self._one(each, at_once) for each in endpoints if each.kind in RECORD_KINDS),
            return_exceptions=True,
        )
        for trouble in ended:
            if trouble is not None:
                raise trouble

    async def _iterate_until(self, stop: Stop) -> None:
        """Run one iteration; one that is under way when the service ends is abandoned.

        Another process makes it.
        """
        self._poll_requested.clear()
        iteration, stopping = asyncio.create_task(self.iterate()), asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({iteration, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not iteration.done():
                await asyncio.wait({iteration}, timeout=DRAIN_S)
            if iteration.done():
                iteration.result()
        finally:
            for task in (iteration, stopping):
                task.cancel()
            await asyncio.gather(iteration, stopping, return_exceptions=True)

    async def _one(self, endpoint: Endpoint, at_once: asyncio.Semaphore) -> None:
        async with at_once:
            now = self._clock.now()
            poll = await self._polls.begin(endpoint.id, now, now + LEASE)
            if poll is not None:
                await self._isolated(endpoint, poll, now)
                self._health.beat(NAME)

    async def _isolated(self, endpoint: Endpoint, poll: Poll, now: datetime) -> None:
        """Run a poll in isolation: one on which several processes end is set aside.

        Each endpoint is isolated by itself, since polls run concurrently.
        """

        async def do(_: Sequence[str]) -> None:
            try:
                await self._poll(endpoint, poll, now)
            except Invalid as wrong:  # the sender switches it off, with the same reason
                log.warning("cannot poll", endpoint=endpoint.id, trouble=str(wrong))
            except Transient:
                raise
            except Exception:  # a fault caused by this CRM's answers: the other polls continue
                metrics.POLLS.labels(endpoint.id, "failed").inc()
                log.exception("poll failed", endpoint=endpoint.id)

        await self._isolation.each(f"look {endpoint.id}", [endpoint.id], do)

    async def _poll(self, endpoint: Endpoint, poll: Poll, now: datetime) -> None:
        reader = self._readers.reader(endpoint)
        watched_until = await self._watched(endpoint, reader, poll, now)
        found = await _with_token(reader, now, lambda: reader.changes(poll.since - OVERLAP))
        since = poll.since
        if isinstance(found, Answer):
            metrics.POLLS.labels(endpoint.id, "failed").inc()
            log.warning("cannot read changes", endpoint=endpoint.id, trouble=found.error)
        else:
            metrics.POLLS.labels(endpoint.id, "done").inc()
            await self._give(endpoint, reader, found)
            since = max([since, *(_at(each, now) for each in found)])
        next_at = now + timedelta(seconds=self._readers.every_s(endpoint))
        await self._polls.end(endpoint.id, Poll(since, poll.until, watched_until), next_at)

    async def _watched(
        self, endpoint: Endpoint, reader: ChangeReader, poll: Poll, now: datetime
    ) -> datetime | None:
        """Return until when the CRM notifies us of changes, after renewing that if necessary."""
        watched_until = await _with_token(
            reader, now, lambda: reader.watch(now, poll.watched_until)
        )
        if isinstance(watched_until, Answer):
            log.warning("no notifications", endpoint=endpoint.id, trouble=watched_until.error)
            return poll.watched_until
        return watched_until

    async def _give(
        self, endpoint: Endpoint, reader: ChangeReader, found: Sequence[CrmRecord]
    ) -> None:
        for record in found:
            try:
                outcome = await self._give_one(endpoint, reader, record)
            except Transient:
                raise
            except Exception:  # a fault caused by this record: the others are read
                outcome = "set_aside"
                log.exception("record set aside", endpoint=endpoint.id, record=record.remote_id)
            if outcome is not None:
                metrics.WAY_BACK.labels(endpoint.id, outcome).inc()

    async def _give_one(
        self, endpoint: Endpoint, reader: ChangeReader, record: CrmRecord
    ) -> str | None:
        """Record the verdict of a record and return the outcome; None without a verdict."""
        verdict = reader.verdict_of(record)
        if verdict is None:
            return None
        given = await self._give_verdict(
            VerdictGiven(record.key, verdict.verdict, None, verdict.leaving_cause, endpoint.id)
        )
        if given is None:
            return "unknown_task"
        return "conflict" if isinstance(given, Conflict) else "taken"


async def _with_token(
    reader: ChangeReader, at: datetime, step: Callable[[], Awaitable[T | Answer]]
) -> T | Answer:
    """Run a step; if the token has ended, renew the token and run the step again."""
    first = await step()
    if not isinstance(first, Answer) or first.result != "refresh_token":
        return first
    trouble = await reader.refresh(at)
    return await step() if trouble is None else trouble


def _at(record: CrmRecord, now: datetime) -> datetime:
    """Return when the record changed; not later than now, whatever the CRM's clock shows.

    A mark in the future would skip the changes until then.
    """
    now_ms = now.timestamp() * 1000
    return datetime.fromtimestamp(min(max(record.modified_ms, 0), now_ms) / 1000, UTC)
