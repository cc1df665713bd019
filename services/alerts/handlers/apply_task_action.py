"""Carries out an owner's action on a task; `core.task_lifecycle` defines the actions."""

from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncEngine

from services.alerts.core import webhook_payload as payload
from services.alerts.core.task import Task
from services.alerts.core.task_lifecycle import (
    Action,
    TaskEvent,
    act,
)
from services.alerts.handlers.record_task_changes import Announcer, RecordTaskChanges
from services.alerts.ports import TaskChange
from services.alerts.store import customers as customer_store
from services.alerts.store import task_log
from services.alerts.store import tasks as task_store
from services.alerts.store.business_clock import BusinessClock
from services.alerts.store.of_every_service import OUTBOX, OUTSIDE_TOPICS
from services.alerts.store.policies import Policies
from shared.postgres.engine import UnitOfWork, unit_of_work
from shared.runtime.clock import Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplyTaskAction:
    """Carries out actions on tasks. Repeating an action changes nothing."""

    engine: AsyncEngine
    policies: Policies
    recorder: RecordTaskChanges
    business_clock: BusinessClock
    clock: Clock
    announcer: Announcer

    async def __call__(self, task_id: str, action: Action, actor: str) -> Task | None:
        """Return the task after the action; None if there is no such task.

        Raises the errors of `task_lifecycle.act`.
        """
        async with unit_of_work(self.engine) as work:
            task, changes = await self.within(work, task_id, action, actor)
        self.announcer.ring(changes)
        return task

    async def within(
        self, work: UnitOfWork, task_id: str, action: Action, actor: str
    ) -> tuple[Task | None, list[TaskChange]]:
        """Carry out the action in an open transaction; also return the changes to send."""
        customer = await task_store.customer_of(work, task_id)
        if customer is None:
            return None, []
        await customer_store.lock(work, [customer])
        task = await task_store.find(work, task_id)
        if task is None:
            return None, []
        now = await self.business_clock.now(work)
        owners = await self.policies.owners(work, (task.owner_id,))
        record = owners.get(task.owner_id or "")
        done = act(task, action, now, record.manager_id if record else None)
        if done.kind is None:
            return task, []
        event = TaskEvent(
            customer_id=customer,
            task_id=task_id,
            at=now,
            recorded_at=self.clock.now(),
            actor=actor,
            kind=done.kind,
            detail=dict(done.detail),
        )
        await task_log.add(work, [event])
        await task_store.write(work, [done.task])
        changes = [TaskChange(done.task, OUTSIDE_TOPICS)] if done.sent else []
        await self.recorder.queue_deliveries(work, changes, self.clock.now())
        if done.sent and done.task.status == "closed":
            message = self.recorder.publish(payload.treatment(done.task), OUTSIDE_TOPICS)
            await OUTBOX.add(work, [message])
        return done.task, changes
