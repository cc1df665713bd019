"""Hands messages to customers to delivery when they may be sent, and checks each attempt again.

A step of the timers. A message that causes an error is set aside (`ItemIsolation`), and all others
go on.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

from services.alerts import metrics
from services.alerts.core.customer_message import Send, Suppress, Wait, body
from services.alerts.core.task_lifecycle import TIMER, EventKind, TaskEvent
from services.alerts.delivery.ports import Leased, NewDelivery
from services.alerts.handlers.decide_messages import Decided, DecideMessages
from services.alerts.store import customer_messages as message_store
from services.alerts.store import task_log
from services.alerts.store.business_clock import BusinessClock
from shared.contracts.customer_message import SEND
from shared.postgres.engine import UnitOfWork, unit_of_work
from shared.runtime.clock import Clock
from shared.runtime.isolation import ItemIsolation

MESSAGES_MAX = 200
"""Messages of one transaction, which takes a fraction of a second: no batch waits long for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SendCustomerMessages:
    """Decides on the messages that are due."""

    engine: AsyncEngine
    decide: DecideMessages
    business_clock: BusinessClock
    clock: Clock
    isolation: ItemIsolation
    deliveries_queued: asyncio.Event
    """Set once deliveries are committed: wakes the delivery sender of this process."""

    async def __call__(self, now: datetime) -> None:
        """Decide on all messages that are due at `now`, business time."""
        while True:
            async with unit_of_work(self.engine) as work:
                due = await message_store.due(work, now, MESSAGES_MAX)

            async def do(ids: Sequence[str], due: dict[str, str] = due) -> None:
                await self._hand_over(ids, [due[each] for each in ids], now)

            done = await self.isolation.each("message", list(due), do)
            if len(due) < MESSAGES_MAX or not done:
                return

    async def _hand_over(self, ids: Sequence[str], customers: Sequence[str], now: datetime) -> None:
        async with unit_of_work(self.engine) as work:
            decided = [
                each
                for each in await self.decide(work, ids, customers, now)
                if each.message.status == "waiting" and each.message.due_at <= now
            ]
            for each in decided:
                await self._apply(work, each, now)
        for each in decided:
            metrics.CUSTOMER_MESSAGES.labels(_word(each)).inc()
        if any(isinstance(each.decision, Send) for each in decided):
            self.deliveries_queued.set()

    async def check_again(self, delivery: Leased) -> str | None:
        """Return why a message must not be sent now, just before an attempt; None: it may.

        A message in quiet hours returns to those that wait; another refusal ends it.
        Raises Transient without PostgreSQL.
        """
        async with unit_of_work(self.engine) as work:
            now = await self.business_clock.now(work)
            found = await self.decide(work, [delivery.id], [delivery.customer_id], now)
            if not found or found[0].message.status != "handed":
                return "it was withdrawn: see the list of messages"
            if isinstance(found[0].decision, Send):
                return None
            await self._apply(work, found[0], now)
        metrics.CUSTOMER_MESSAGES.labels(_word(found[0])).inc()
        if isinstance(found[0].decision, Wait):
            return f"waits until {found[0].decision.until:%F %T}Z"
        return f"suppressed: {_word(found[0])}"

    async def _apply(self, work: UnitOfWork, each: Decided, now: datetime) -> None:
        decision = each.decision
        if isinstance(decision, Wait):
            await message_store.wait(work, each.message.id, decision.until)
        elif isinstance(decision, Suppress):
            await message_store.suppress(work, each.message.id, decision.reason)
            await self._note(work, each, "message_suppressed", now, {"reason": decision.reason})
        elif each.rule is not None and each.task is not None and each.consented_at is not None:
            rule, task = each.rule, each.task
            made = NewDelivery(
                customer_id=task.customer_id,
                id=each.message.id,
                endpoint_id=rule.endpoint,
                task_id=task.id,
                kind=SEND,
                body=body(task, rule, each.consented_at, decision.deliver_until, now),
                created_at=self.clock.now(),
                received_ms=0,
            )
            await message_store.hand_over(work, made, rule.channel, now)
            detail = {"channel": rule.channel, "endpoint": rule.endpoint}
            await self._note(work, each, "message_handed", now, detail)

    async def _note(
        self,
        work: UnitOfWork,
        each: Decided,
        kind: EventKind,
        now: datetime,
        detail: dict[str, Any],
    ) -> None:
        event = TaskEvent(
            customer_id=each.message.customer_id,
            task_id=each.message.task_id,
            at=now,
            recorded_at=self.clock.now(),
            actor=TIMER,
            kind=kind,
            detail=detail,
        )
        await task_log.add(work, [event])


def _word(each: Decided) -> str:
    """Return the decision as metrics name it."""
    if isinstance(each.decision, Suppress):
        return each.decision.reason
    return "waits" if isinstance(each.decision, Wait) else "handed"
