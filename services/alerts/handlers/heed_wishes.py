"""Adapts the open tasks of customers with changed wishes: the channel that they name."""

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime

from services.alerts.core.task import heeding
from services.alerts.handlers.give_verdict import CAUSE
from services.alerts.handlers.record_task_changes import RecordTaskChanges
from services.alerts.ports import TaskChange
from services.alerts.store.consents import Consents
from services.alerts.store.tasks import Tasks
from shared.postgres.engine import UnitOfWork


@dataclass(frozen=True, slots=True, kw_only=True)
class HeedWishes:
    """Changes and sends the tasks, within a transaction that has locked the customers."""

    recorder: RecordTaskChanges
    consents: Consents = field(default_factory=Consents)
    tasks: Tasks = field(default_factory=Tasks)

    async def __call__(
        self, work: UnitOfWork, customers: Collection[str], at: datetime, now: datetime
    ) -> bool:
        """Return whether a task has changed. `at`: business time; `now`: wall clock."""
        found = await self.tasks.open_of(work, customers)
        if not found:
            return False
        wishes = await self.consents.wishes(work, {task.customer_id for task in found})
        changed = [
            after
            for task in found
            if (after := heeding(task, wishes[task.customer_id], max(at, task.opened_at))) != task
        ]
        await self.tasks.write(work, changed)
        changes = [TaskChange(task, CAUSE) for task in changed]
        await self.recorder.queue_deliveries(work, changes, now)
        return bool(changed)
