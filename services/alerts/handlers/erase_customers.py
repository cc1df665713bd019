"""Erases customers on request, in the order of the activity log.

Open tasks close as erased and endpoints are notified, without a name, a note or a reason. What
alerts stores of the person is deleted in the same transaction; messages to endpoints are deleted by
a loop once they were delivered.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from services.alerts.core.policy import Closed
from services.alerts.handlers.record_task_changes import BatchDecisions, RecordTaskChanges
from services.alerts.ports import ErasureSeen, TaskChange
from services.alerts.store import customers as customer_store
from services.alerts.store import erasure as erasure_store
from services.alerts.store.of_every_service import ERASURES
from shared.postgres.engine import UnitOfWork, unit_of_work
from shared.runtime.clock import Clock
from shared.runtime.loop import repeat
from shared.runtime.service import Stop

log = structlog.get_logger(__name__)

EVERY_S: Final = 30.0
"""Seconds between looks whether the messages of erased customers were delivered."""

AT_ONCE_MAX: Final = 100
"""Erasures finished in one transaction: some milliseconds each."""


async def erase_customers(
    work: UnitOfWork, recorder: RecordTaskChanges, requested: Sequence[ErasureSeen], now: datetime
) -> list[TaskChange]:
    """Erase within the transaction of a batch of activity; return the ends of open tasks.

    A request that is repeated does nothing.
    """
    changes = []
    for request in requested:
        if await ERASURES.begin(work, request.request_id, request.customer_id, request.at, now):
            changes += await _erase(work, recorder, request, now)
    return changes


async def _erase(
    work: UnitOfWork, recorder: RecordTaskChanges, request: ErasureSeen, now: datetime
) -> list[TaskChange]:
    customer = request.customer_id
    seen = await erasure_store.knows(work, customer)
    known = await customer_store.lock(work, [customer])
    decisions = BatchDecisions()
    for task in known[customer].state.open:
        decisions.close(Closed(task, max(task.opened_at, request.at), "erased"), request.tp)
    await erasure_store.forget_names(work, customer)
    # The treatments are not published: scoring deletes the customer's too.
    changes, _ = await recorder.write(work, decisions, now)
    found = await erasure_store.forget(work, customer)
    if not seen:
        found["customer"] = 0  # the row that locking made
    await ERASURES.add_rows(work, request.request_id, found)
    log.info("customer erased", request=request.request_id, rows=sum(found.values()))
    return changes


@dataclass(frozen=True, slots=True, kw_only=True)
class EraseMessages:
    """The loop that deletes erased customers' messages once they were delivered."""

    engine: AsyncEngine
    clock: Clock

    async def __call__(self, stop: Stop) -> None:
        """Run until `stop`."""
        await repeat(self.once, stop, "erasures", EVERY_S)

    async def once(self) -> None:
        """Finish the erasures without a pending message."""
        async with unit_of_work(self.engine) as work:
            waiting = await ERASURES.unfinished(work, AT_ONCE_MAX)
            for request, customer in waiting.items():
                deleted = await erasure_store.forget_sent(work, request, customer)
                if deleted is not None:
                    await ERASURES.add_rows(work, request, deleted)
                    await ERASURES.finish(work, request, self.clock.now())
