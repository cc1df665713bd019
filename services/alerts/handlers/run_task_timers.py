"""Periodic timers: release waiting tasks, escalate unanswered ones, expire old ones.

They run on business time, in bounded transactions. Each transaction reads its tasks again once
their customers are locked, so that replicas do nothing twice. A task, an owner or a step that
causes an error is set aside (`ItemIsolation`), and all others go on.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

import msgspec
from sqlalchemy.ext.asyncio import AsyncEngine

from services.alerts.core.allocation import Share, day_begin, share_out
from services.alerts.core.policy import Closed, OpenTask
from services.alerts.core.task import Task, TaskInputs
from services.alerts.core.task_lifecycle import (
    TIMER,
    EventKind,
    TaskEvent,
    is_unanswered,
    moved_over,
    released,
    unanswered,
)
from services.alerts.handlers.record_task_changes import (
    Announcer,
    BatchDecisions,
    RecordTaskChanges,
)
from services.alerts.ports import TaskChange
from services.alerts.store import customers as customer_store
from services.alerts.store import due_tasks, task_log
from services.alerts.store import tasks as task_store
from services.alerts.store.business_clock import BusinessClock
from services.alerts.store.of_every_service import OUTBOX, OUTSIDE_TOPICS
from services.alerts.store.policies import Policies
from shared.postgres.engine import UnitOfWork, unit_of_work
from shared.runtime.clock import Clock
from shared.runtime.health import Health
from shared.runtime.isolation import ItemIsolation
from shared.runtime.loop import repeat
from shared.runtime.service import Stop

INTERVAL_S = 5.0
"""Seconds between iterations: owners are notified within minutes, response targets are hours."""
TASKS_MAX = 500
"""Tasks of one transaction, which takes a fraction of a second: no batch waits long for a lock."""
OWNERS_MAX = 1_000
"""Owners with waiting tasks that one iteration handles."""

NAME = "tend"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunTaskTimers:
    """The loop of the timers. `more`: further steps of an iteration, of a few transactions each."""

    engine: AsyncEngine
    policies: Policies
    recorder: RecordTaskChanges
    business_clock: BusinessClock
    clock: Clock
    health: Health
    announcer: Announcer
    isolation: ItemIsolation
    more: Mapping[str, Callable[[datetime], Awaitable[object]]] = field(default_factory=dict)

    async def __call__(self, stop: Stop) -> None:
        """Run until `stop`."""
        await repeat(self.iterate, stop, NAME, INTERVAL_S, health=self.health)

    async def iterate(self) -> None:
        """Run all timers once."""
        async with unit_of_work(self.engine) as work:
            now = await self.business_clock.now(work)
        steps: dict[str, Callable[[datetime], Awaitable[object]]] = {
            "expire": partial(self._each, "expiry", due_tasks.expired, self._expire),
            "quiet": partial(self._each, "end of quiet hours", due_tasks.quiet_over, self._release),
            "allocate": self._allocate,
            "answer": partial(self._each, "answer", due_tasks.unanswered, self._unanswered),
            **self.more,
        }

        async def do(names: Sequence[str]) -> None:
            for name in names:
                await steps[name](now)

        for name in steps:
            await self.isolation.each("step", [name], do, outer=True)

    async def _each(
        self,
        kind: str,
        find: Callable[[UnitOfWork, datetime, int], Awaitable[list[str]]],
        handle: Callable[[UnitOfWork, Sequence[Task], datetime], Awaitable[list[TaskChange]]],
        now: datetime,
    ) -> None:
        """Handle the tasks that `find` returns, batch by batch."""

        async def do(ids: Sequence[str]) -> None:
            async with unit_of_work(self.engine) as work:
                changes = await handle(work, await self._locked(work, ids), now)
            self.announcer.ring(changes)

        while True:
            async with unit_of_work(self.engine) as work:
                ids = await find(work, now, TASKS_MAX)
            done = await self.isolation.each(kind, ids, do)
            if len(ids) < TASKS_MAX or not done:
                return

    async def _locked(self, work: UnitOfWork, ids: Sequence[str]) -> list[Task]:
        """Lock the customers of these tasks, and return the tasks as they are now."""
        if not ids:
            return []
        owners = {task.customer_id for task in await task_store.find_all(work, ids)}
        await customer_store.lock(work, owners)
        return await task_store.find_all(work, ids)

    async def _expire(
        self, work: UnitOfWork, tasks: Sequence[Task], now: datetime
    ) -> list[TaskChange]:
        decisions = BatchDecisions()
        expired = [t for t in tasks if t.status == "open" and t.expires_at and t.expires_at <= now]
        for task in expired:
            ended = OpenTask(task.id, task.cause, task.opened_at)
            decisions.close(Closed(ended, task.expires_at or now, "expired"), OUTSIDE_TOPICS)
        changes, messages = await self.recorder.write(work, decisions, self.clock.now())
        await OUTBOX.add(work, messages)
        await task_log.add(work, [self._event(t, "expired", now) for t in expired])
        return changes

    async def _release(
        self, work: UnitOfWork, tasks: Sequence[Task], now: datetime
    ) -> list[TaskChange]:
        """Release tasks that waited for the end of quiet hours."""
        awake = [t for t in tasks if t.status == "open" and t.waiting == "quiet"]
        return await self._write(work, [released(t, now) for t in awake])

    async def _unanswered(
        self, work: UnitOfWork, tasks: Sequence[Task], now: datetime
    ) -> list[TaskChange]:
        late = [t for t in tasks if is_unanswered(t, now)]
        inputs = await self._inputs(work, {t.owner_id for t in late})
        done = [unanswered(t, inputs.owners, now, inputs.calendar(t.owner_id)) for t in late]
        await task_log.add(
            work, [self._event(d.task, d.kind, now, dict(d.detail)) for d in done if d.kind]
        )
        await task_store.write(work, [d.task for d in done if not d.sent])
        return await self._write(work, [d.task for d in done if d.sent])

    async def _inputs(self, work: UnitOfWork, owners: set[str | None]) -> TaskInputs:
        """Return the inputs with the records of these owners, their managers and fallbacks."""
        inputs = await self.policies.task_inputs(work, owners, self.clock.now())
        others = {
            other
            for record in inputs.owners.values()
            for other in (record.manager_id, record.fallback_id)
        }
        more = await self.policies.owners(work, others)
        return TaskInputs(
            inputs.policy, inputs.version, inputs.created_at, {**more, **inputs.owners}
        )

    async def _allocate(self, now: datetime) -> None:
        """Give owners their most valuable waiting tasks up to their capacity.

        The rest waits or moves to the fallback.
        """
        async with unit_of_work(self.engine) as work:
            owners = await due_tasks.waiting_owners(work, OWNERS_MAX)

        async def do(names: Sequence[str]) -> None:
            for owner in names:
                async with unit_of_work(self.engine) as work:
                    changes = await self._allocate_one(work, owner, now)
                self.announcer.ring(changes)

        await self.isolation.each("owner", sorted(owners), do)

    async def _allocate_one(self, work: UnitOfWork, owner: str, now: datetime) -> list[TaskChange]:
        inputs = await self._inputs(work, {owner})
        record = inputs.owners.get(owner)
        fallback = inputs.owners.get(record.fallback_id) if record and record.fallback_id else None
        both = [r for r in (record, fallback) if r is not None]
        since = {r.id: day_begin(now, inputs.calendar(r.id).zone) for r in both}
        await self.policies.hold_allocation(work, sorted(since))
        loads = await due_tasks.loads(work, since)
        shared: Share = share_out(record, fallback, loads)
        mine = await due_tasks.most_worthwhile(work, owner, min(shared.own, TASKS_MAX))
        theirs = await due_tasks.most_worthwhile(
            work, owner, min(shared.fallback, TASKS_MAX), skip=len(mine)
        )
        tasks = [
            t
            for t in await self._locked(work, [*mine, *theirs])
            if t.status == "open" and t.waiting == "capacity"
        ]
        changed, events = [], []
        for task in tasks:
            if task.id in mine or fallback is None:
                changed.append(released(task, now))
                events.append(self._event(task, "allocated", now))
            else:
                changed.append(moved_over(task, fallback, now))
                detail = {"from": owner, "to": fallback.id, "reason": shared.reason}
                events.append(self._event(task, "rebalanced", now, detail))
        await task_log.add(work, events)
        return await self._write(work, changed)

    async def _write(self, work: UnitOfWork, tasks: Sequence[Task]) -> list[TaskChange]:
        changes = [TaskChange(task, OUTSIDE_TOPICS) for task in tasks]
        await task_store.write(work, tasks)
        await self.recorder.queue_deliveries(work, changes, self.clock.now())
        return changes

    def _event(
        self, task: Task, kind: EventKind, now: datetime, detail: dict[str, Any] | None = None
    ) -> TaskEvent:
        return TaskEvent(
            customer_id=task.customer_id,
            task_id=task.id,
            at=now,
            recorded_at=self.clock.now(),
            actor=TIMER,
            kind=kind,
            detail=msgspec.to_builtins(detail or {}),
        )
