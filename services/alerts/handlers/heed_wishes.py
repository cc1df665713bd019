"""Adapts the open tasks of customers with changed wishes: the channel that they name."""

from collections.abc import Collection
from datetime import datetime

from services.alerts.core.task import heeding
from services.alerts.handlers.record_task_changes import RecordTaskChanges
from services.alerts.ports import TaskChange
from services.alerts.store import consents as consent_store
from services.alerts.store import tasks as task_store
from services.alerts.store.of_every_service import OUTSIDE_TOPICS
from shared.postgres.engine import UnitOfWork


async def heed_wishes(
    work: UnitOfWork,
    recorder: RecordTaskChanges,
    customers: Collection[str],
    at: datetime,
    now: datetime,
) -> bool:
    """Change and send the tasks of locked customers; return whether one has changed.

    `at`: business time; `now`: wall clock.
    """
    found = await task_store.open_of(work, customers)
    if not found:
        return False
    wishes = await consent_store.wishes(work, {task.customer_id for task in found})
    changed = [
        after
        for task in found
        if (after := heeding(task, wishes[task.customer_id], max(at, task.opened_at))) != task
    ]
    await task_store.write(work, changed)
    changes = [TaskChange(task, OUTSIDE_TOPICS) for task in changed]
    await recorder.queue_deliveries(work, changes, now)
    return bool(changed)
