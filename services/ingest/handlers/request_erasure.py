"""Use cases: requests that a customer be forgotten, by every service; finishes ingest's own part.

The request takes its place in the activity log behind what the customer did before it. It is sent
there directly and not through the raw topic, where any publisher could write it.
"""

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from services.ingest.ports import Outlet
from services.ingest.store.erasure import delete_contents
from shared.contracts import events
from shared.contracts.activity import ENCODER, Activity
from shared.contracts.events import ID_LENGTH_MAX, id_fault
from shared.kafka.producer import Record
from shared.kernel.errors import Invalid
from shared.kernel.text import kept
from shared.postgres.engine import unit_of_work
from shared.postgres.erasures import Erasures
from shared.runtime.clock import Clock
from shared.runtime.loop import repeat
from shared.runtime.service import Stop

SOURCE = "urn:ebbwatch:erasures"

EVERY_S: Final = 10.0
"""Seconds between looks for erasures to finish."""
LATE: Final = timedelta(seconds=60)
"""How long after the request ingest's own part ends: what was refused before it is indexed then."""
AT_ONCE_MAX: Final = 100
"""Erasures finished in one transaction, each with a scan of the dead letters."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestErasure:
    """Requests erasures, and deletes what ingest itself has of the customer."""

    engine: AsyncEngine
    outlet: Outlet
    activity_topic: str
    erasures: Erasures
    clock: Clock

    async def __call__(self, customer_id: str, by: str) -> tuple[str, datetime]:
        """Return the request's id and time, once the broker has it; `by`: for the log.

        Raises Invalid for what cannot be a customer's id, Transient without Kafka or PostgreSQL:
        then repeat it.
        """
        _check(customer_id)
        request, now = uuid.uuid4().hex, self.clock.now()
        asked = Activity(
            specversion="1.0",
            id=request,
            source=SOURCE,
            type=events.ERASURE,
            time=now,
            subject=customer_id,
            receivedms=int(now.timestamp() * 1000),
        )
        async with unit_of_work(self.engine) as work:
            await self.erasures.begin(work, request, customer_id, now, now)
            deleted = await delete_contents(work, customer_id, now, by)
            await self.erasures.add_rows(work, request, {"dead_letter": deleted})
            # Before the commit: a request that is stored here was sent.
            key, value = customer_id.encode(), ENCODER.encode(asked)
            await self.outlet.send([Record(self.activity_topic, key, value, ())])
        log.info("erasure requested", request=request, by=by)
        return request, now


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishErasures:
    """The loop that deletes dead letters indexed since the request, and ends ingest's part."""

    engine: AsyncEngine
    erasures: Erasures
    clock: Clock

    async def watch(self, stop: Stop) -> None:
        """Run until `stop`."""
        await repeat(self.once, stop, "erasures", EVERY_S)

    async def once(self) -> None:
        """Finish the erasures that are old enough."""
        now = self.clock.now()
        async with unit_of_work(self.engine) as work:
            waiting = await self.erasures.unfinished(work, AT_ONCE_MAX, begun_before=now - LATE)
            for request, customer in waiting.items():
                deleted = await delete_contents(work, customer, now, SOURCE)
                await self.erasures.add_rows(work, request, {"dead_letter": deleted})
                await self.erasures.finish(work, request, now)


def _check(customer_id: str) -> None:
    kept("customer_id", customer_id)
    if not 0 < len(customer_id) <= ID_LENGTH_MAX:
        raise Invalid("customer_id", f"must have 1 to {ID_LENGTH_MAX} characters")
    if (why := id_fault(customer_id)) is not None:
        raise Invalid("customer_id", why)
