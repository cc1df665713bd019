"""Leaves customers out of assessment who do not want to be assessed.

Their events are folded into their states like all others, so that a customer who allows it again is
assessed as if there had been no refusal.
"""

from dataclasses import dataclass

from services.scoring.handlers.batch_customers import BatchCustomers, LeftOut
from services.scoring.store import profiling
from services.scoring.store.profiling import Wish
from shared.postgres.engine import UnitOfWork
from shared.postgres.outbox import Message


@dataclass(frozen=True, slots=True)
class HeedProfiling:
    """Decides within a batch's transaction, before the batch reads states."""

    risk_topic: str

    async def __call__(self, work: UnitOfWork, customers: BatchCustomers) -> LeftOut:
        """Return who is left out; what is known of those who refuse from now on is withdrawn."""
        events = customers.events
        stated = [row for row, refuses in enumerate(events.refuses) if refuses is not None]
        if stated:
            await profiling.note(work, [_wish(customers, row) for row in stated])
        refused = await profiling.refused(work, customers.ids)
        fresh = await profiling.still_assessed(work, refused) if refused else []
        if fresh:
            await profiling.withdraw(work, fresh)
        return LeftOut(refused, fresh, [self._deletion(customers, one) for one in fresh])

    def _deletion(self, customers: BatchCustomers, customer: str) -> Message:
        """Return the message by which readers of the risk topic delete an assessment."""
        home = customers.partition[customers.ids.index(customer)]
        return Message(customers.parts[home].tp, self.risk_topic, customer.encode(), None)


def _wish(customers: BatchCustomers, row: int) -> Wish:
    events = customers.events
    refuses = bool(events.refuses[row])
    return Wish(events.original_customer[row], events.time[row], refuses, events.source[row])
