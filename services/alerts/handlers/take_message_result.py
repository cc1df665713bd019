"""Stores what a provider reports of a message: accepted, bounced, unsubscribed, complaint."""

import asyncio
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncEngine

from services.alerts import metrics
from services.alerts.core.consent import spelled
from services.alerts.core.customer_message import ends_subscription, outcome_after
from services.alerts.core.task_lifecycle import TaskEvent
from services.alerts.handlers.heed_wishes import heed_wishes
from services.alerts.handlers.record_task_changes import RecordTaskChanges
from services.alerts.ports import SubscriptionSeen
from services.alerts.store import consents as consent_store
from services.alerts.store import customer_messages as message_store
from services.alerts.store import customers as customer_store
from services.alerts.store import task_log
from services.alerts.store.business_clock import BusinessClock
from services.alerts.store.customer_messages import StoredMessage
from shared.contracts.customer_message import Reported, Result
from shared.kernel.errors import Invalid
from shared.postgres.engine import UnitOfWork, unit_of_work
from shared.runtime.clock import Clock


@dataclass(frozen=True, slots=True)
class ResultTaken:
    """What is stored after a report."""

    message_id: str | None
    outcome: Result
    """The gravest result reported so far."""
    unsubscribed: bool
    """Whether this report unsubscribed the customer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TakeMessageResult:
    """Stores a report. Repeating it changes no outcome, and the order of reports does not matter.

    An unsubscription always counts: the customer may have returned and left again.
    """

    engine: AsyncEngine
    recorder: RecordTaskChanges
    deliveries_queued: asyncio.Event
    """Set once deliveries are committed: wakes the delivery sender of this process."""
    business_clock: BusinessClock
    clock: Clock

    async def __call__(self, endpoint_id: str, reported: Reported) -> ResultTaken | None:
        """Return what is stored; None where this endpoint was given no such message.

        An unsubscription counts from the commit on: an attempt after it sends nothing.
        Raises Invalid, naming the field, where the report names neither message nor customer.
        """
        if reported.message_id is None:
            return await self._without_message(endpoint_id, reported)
        async with unit_of_work(self.engine) as work:
            found = await message_store.find(work, [reported.message_id])
            if not found or found[0].endpoint_id != endpoint_id:
                return None
            await customer_store.lock(work, [found[0].customer_id])
            found = await message_store.find(work, [reported.message_id])
            if not found:  # erased meanwhile
                return None
            message = found[0]
            outcome = outcome_after(message.outcome, reported.result)
            if outcome != message.outcome:
                await self._store(work, message, outcome, reported.reason)
            ends = ends_subscription(reported.result)
            if ends:
                await self._unsubscribe(
                    work, message.customer_id, message.channel, endpoint_id, message.id
                )
        if ends:
            self.deliveries_queued.set()
        metrics.MESSAGE_RESULTS.labels(endpoint_id, reported.result).inc()
        return ResultTaken(message.id, outcome, ends)

    async def _without_message(self, endpoint_id: str, reported: Reported) -> ResultTaken | None:
        customer_id, result = reported.customer_id, reported.result
        if customer_id is None or not ends_subscription(result):
            raise Invalid(
                "data.message_id", "is needed; only who unsubscribes may be named by customer_id"
            )
        async with unit_of_work(self.engine) as work:
            if endpoint_id not in await message_store.takers(work):
                return None
            await customer_store.lock(work, [customer_id])
            await self._unsubscribe(work, customer_id, reported.channel, endpoint_id)
        self.deliveries_queued.set()
        metrics.MESSAGE_RESULTS.labels(endpoint_id, result).inc()
        return ResultTaken(None, result, unsubscribed=True)

    async def _unsubscribe(
        self,
        work: UnitOfWork,
        customer_id: str,
        channel: str | None,
        endpoint_id: str,
        message_id: str | None = None,
    ) -> None:
        """Unsubscribe all ids of a customer: each stays so if they come apart."""
        at, now = await self.business_clock.now(work), self.clock.now()
        ids = await consent_store.ids(work, customer_id)
        seen = [
            SubscriptionSeen(
                customer_id=each,
                channel=spelled(channel),
                at=at,
                ended=True,
                reported_by=f"endpoint:{endpoint_id}",
                event_id=message_id or at.isoformat(),
            )
            for each in ids
        ]
        await consent_store.note(work, seen)
        await consent_store.keep(work, [each.stated() for each in seen], now)
        await heed_wishes(work, self.recorder, ids, at, now)

    async def _store(
        self, work: UnitOfWork, message: StoredMessage, outcome: Result, reason: str | None
    ) -> None:
        now = await self.business_clock.now(work)
        await message_store.report(work, message.id, outcome, now, reason)
        event = TaskEvent(
            customer_id=message.customer_id,
            task_id=message.task_id,
            at=now,
            recorded_at=self.clock.now(),
            actor=f"endpoint:{message.endpoint_id}",
            kind="message_result",
            detail={"result": outcome},
        )
        await task_log.add(work, [event])
