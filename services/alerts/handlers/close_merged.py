"""Closes the open tasks of a customer who was merged into another one; endpoints are notified."""

from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncEngine

from services.alerts.core.policy import Closed
from services.alerts.handlers.give_verdict import CAUSE
from services.alerts.handlers.record_task_changes import BatchDecisions, RecordTaskChanges
from services.alerts.store.business_clock import BusinessClock
from services.alerts.store.customers import Customers
from shared.postgres.engine import unit_of_work
from shared.postgres.outbox import Outbox
from shared.runtime.clock import Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class CloseMerged:
    """Closes a merged customer's tasks. Repeating it changes nothing."""

    engine: AsyncEngine
    customers: Customers
    recorder: RecordTaskChanges
    outbox: Outbox
    business_clock: BusinessClock
    clock: Clock

    async def __call__(self, customer_id: str) -> int:
        """Close the open tasks and return their number. Other data stay: purchases were made."""
        async with unit_of_work(self.engine) as work:
            known = await self.customers.lock(work, [customer_id])
            now = await self.business_clock.now(work)
            decisions = BatchDecisions()
            for task in known[customer_id].state.open:
                decisions.close(Closed(task, max(task.opened_at, now), "merged"), CAUSE)
            changes, messages = await self.recorder.write(work, decisions, self.clock.now())
            await self.outbox.add(work, messages)
        return len(changes)
