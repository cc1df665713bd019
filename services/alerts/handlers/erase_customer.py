"""Ends a customer: erased on request, or merged into another one.

Open tasks close with that reason, and endpoints are notified. Erasing deletes the data about the
person and the person's behaviour; tasks and trials stay without a name or a note, for counts.
"""

from dataclasses import dataclass
from typing import Literal

from sqlalchemy.ext.asyncio import AsyncEngine

from services.alerts.core.policy import Closed
from services.alerts.handlers.give_verdict import CAUSE
from services.alerts.handlers.record_task_changes import BatchDecisions, RecordTaskChanges
from services.alerts.store.business_clock import BusinessClock
from services.alerts.store.customers import Customers
from services.alerts.store.erasure import Erasure
from shared.postgres.engine import unit_of_work
from shared.postgres.outbox import Outbox
from shared.runtime.clock import Clock

Why = Literal["erased", "merged"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EraseCustomer:
    """Ends a customer's open tasks and data. Repeating it changes nothing."""

    engine: AsyncEngine
    customers: Customers
    traces: Erasure
    recorder: RecordTaskChanges
    outbox: Outbox
    business_clock: BusinessClock
    clock: Clock

    async def __call__(self, customer_id: str, why: Why) -> int:
        """Close the open tasks and return their number.

        An erased customer's data are deleted; a merged one's stay, since the purchases were made.
        """
        async with unit_of_work(self.engine) as work:
            known = await self.customers.lock(work, [customer_id])
            now = await self.business_clock.now(work)
            decisions = BatchDecisions()
            for task in known[customer_id].state.open:
                decisions.close(Closed(task, max(task.opened_at, now), why), CAUSE)
            if why == "erased":
                await self.traces.forget_names(work, customer_id)
            changes, messages = await self.recorder.write(work, decisions, self.clock.now())
            await self.outbox.add(work, messages)
            if why == "erased":
                await self.traces.forget(work, customer_id)
        return len(changes)
