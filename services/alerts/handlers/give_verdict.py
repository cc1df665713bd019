"""Closes a task with an owner's verdict: stores it, sends it to endpoints and publishes it."""

from dataclasses import dataclass
from datetime import datetime

import msgspec
from sqlalchemy.ext.asyncio import AsyncEngine

from services.alerts import metrics
from services.alerts.core import webhook_payload as payload
from services.alerts.core.customer import answered
from services.alerts.core.task import Task, warned_of
from services.alerts.core.task_lifecycle import TaskEvent
from services.alerts.handlers.record_task_changes import Announcer, RecordTaskChanges
from services.alerts.ports import TaskChange, VerdictGiven
from services.alerts.store import customers as customer_store
from services.alerts.store import task_log
from services.alerts.store import tasks as task_store
from services.alerts.store.business_clock import BusinessClock
from services.alerts.store.of_every_service import OUTBOX, OUTSIDE_TOPICS
from shared.postgres.engine import unit_of_work
from shared.runtime.clock import Clock


@dataclass(frozen=True, slots=True)
class Conflict:
    """The task has another verdict already."""

    task: Task


@dataclass(frozen=True, slots=True, kw_only=True)
class GiveVerdict:
    """Closes tasks with owners' verdicts. Repeating a verdict changes nothing."""

    engine: AsyncEngine
    recorder: RecordTaskChanges
    business_clock: BusinessClock
    clock: Clock
    announcer: Announcer

    async def __call__(self, given: VerdictGiven) -> Task | Conflict | None:
        """Return the task after the verdict, a conflict, or None when there is no such task.

        A task that has closed by itself may still get a verdict: it is stored and published, but
        the task is not sent to endpoints again.
        """
        changes: list[TaskChange] = []
        async with unit_of_work(self.engine) as work:
            customer = await task_store.customer_of(work, given.task_id)
            if customer is None:
                return None
            known = await customer_store.lock(work, [customer])
            task = await task_store.find(work, given.task_id)
            if task is None or task.verdict is not None:
                return _repeated(task, given)
            at = max(task.opened_at, await self.business_clock.now(work))
            after = msgspec.structs.replace(
                task,
                verdict=given.verdict,
                note=given.note,
                leaving_cause=given.leaving_cause,
            )
            messages = []
            if task.status == "open":
                after = msgspec.structs.replace(
                    after,
                    status="closed",
                    version=task.version + 1,
                    closed_at=at,
                    close_reason="verdict",
                )
                changes.append(TaskChange(after, OUTSIDE_TOPICS))
                messages.append(self.recorder.publish(payload.treatment(after), OUTSIDE_TOPICS))
            await task_store.write(work, [after])
            state = answered(known[customer].state, warned_of(after), at, after.leaving_cause)
            await customer_store.write(work, [state], known)
            await task_log.add(work, [self._event(after, given, at)])
            await self.recorder.queue_deliveries(work, changes, self.clock.now())
            messages.append(self.recorder.publish(payload.verdict(after, at), OUTSIDE_TOPICS))
            await OUTBOX.add(work, messages)
        self.announcer.wake()
        self.announcer.ring(changes)
        metrics.VERDICTS.labels(given.verdict).inc()
        return after

    def _event(self, task: Task, given: VerdictGiven, at: datetime) -> TaskEvent:
        detail = {
            "verdict": given.verdict,
            "note": given.note,
            "leaving_cause": given.leaving_cause,
        }
        return TaskEvent(
            customer_id=task.customer_id,
            task_id=task.id,
            at=at,
            recorded_at=self.clock.now(),
            actor=given.actor,
            kind="verdict",
            detail={name: value for name, value in detail.items() if value is not None},
        )


def _repeated(task: Task | None, given: VerdictGiven) -> Task | Conflict | None:
    if task is None or task.verdict == given.verdict:
        return task
    return Conflict(task)
