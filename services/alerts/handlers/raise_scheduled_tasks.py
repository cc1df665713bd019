"""Raises the tasks of the calendar: revisits, birthdays, holidays. A step of the timers.

A customer or a schedule that causes an error is set aside (`ItemIsolation`); all others go on.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import partial

from sqlalchemy.ext.asyncio import AsyncEngine

from services.alerts.core.policy_document import Care
from services.alerts.core.scheduled_tasks import (
    birthdays_of,
    day_of,
    falls_on,
    planned_task,
)
from services.alerts.handlers.record_task_changes import (
    Announcer,
    BatchDecisions,
    RecordTaskChanges,
    count,
)
from services.alerts.ports import ScheduledCustomer, TaskChange
from services.alerts.store import customers as customer_store
from services.alerts.store import schedules as schedule_store
from services.alerts.store.of_every_service import OUTBOX, OUTSIDE_TOPICS
from services.alerts.store.policies import Policies
from shared.kernel.zones import zone
from shared.postgres.engine import UnitOfWork, unit_of_work
from shared.runtime.clock import Clock
from shared.runtime.isolation import ItemIsolation

CATCH_UP_DAYS_MAX = 31
"""Most days that are caught up after an interruption; in a replay one check may span many days."""
PAGE = 500
"""Customers of one transaction, which takes a fraction of a second."""

Find = Callable[[UnitOfWork, str], Awaitable[list[ScheduledCustomer]]]


@dataclass(slots=True, kw_only=True)
class RaiseScheduledTasks:
    """Raises the tasks of a day once; a second run finds that they exist."""

    engine: AsyncEngine
    policies: Policies
    recorder: RecordTaskChanges
    clock: Clock
    isolation: ItemIsolation
    announcer: Announcer
    done: tuple[date, int] | None = None
    """The newest day that this process has completed, and the version of the policy then."""

    async def __call__(self, now: datetime) -> None:
        """Raise the tasks that fall on the day of `now`, business time, and on days missed."""
        async with unit_of_work(self.engine) as work:
            version, policy = await self.policies.current(work)
        today = day_of(now, zone(policy.hours.time_zone))
        if not policy.care or self.done == (today, version):
            return
        schedules = {schedule.name: schedule for schedule in policy.care}
        for day in self._days(today):
            look = partial(self._decide, schedules, day, now)
            await self.isolation.each("schedule", schedules, look, outer=True)
        if not (self.isolation.waiting("schedule") or self.isolation.waiting("care")):
            self.done = (today, version)

    async def _decide(
        self, schedules: dict[str, Care], day: date, now: datetime, names: Sequence[str]
    ) -> None:
        for schedule in map(schedules.__getitem__, names):
            find = self._find(schedule, day, now)
            if find is not None:
                await self._raise(schedule, find, day, now)

    def _days(self, today: date) -> list[date]:
        """Return the days to check: those since the last one, today included.

        A process that has just begun adds yesterday, which may have been missed.
        """
        last = self.done[0] if self.done else today - timedelta(days=2)
        behind = min((today - last).days, CATCH_UP_DAYS_MAX)
        return [today - timedelta(days=n) for n in range(max(behind - 1, 0), -1, -1)]

    def _find(self, schedule: Care, today: date, now: datetime) -> Find | None:
        """Return the query for the customers of a schedule on a day; None: there are none."""
        grades = schedule.grades
        if schedule.every_days is not None:
            since = now - timedelta(days=schedule.every_days)
            cause = f"care:{schedule.name}"
            return lambda work, after: schedule_store.unvisited(
                work, since, cause, grades, after, PAGE
            )
        if falls_on(schedule, today):
            return lambda work, after: schedule_store.all_customers(work, grades, after, PAGE)
        if days := birthdays_of(schedule, today):
            return lambda work, after: schedule_store.born_on(work, days, grades, after, PAGE)
        return None

    async def _raise(self, schedule: Care, find: Find, today: date, now: datetime) -> None:
        after = ""
        while True:
            async with unit_of_work(self.engine) as work:
                found = await find(work, after)
            each = {one.customer_id: one for one in found}
            await self.isolation.each("care", each, partial(self._do, schedule, each, today, now))
            if len(found) < PAGE:
                return
            after = found[-1].customer_id

    async def _do(
        self,
        schedule: Care,
        each: dict[str, ScheduledCustomer],
        today: date,
        now: datetime,
        customers: Sequence[str],
    ) -> None:
        async with unit_of_work(self.engine) as work:
            found = [each[customer] for customer in customers]
            changes = await self._add(work, schedule, found, today, now)
        count(changes, self.clock.now())
        self.announcer.ring(changes)

    async def _add(
        self,
        work: UnitOfWork,
        schedule: Care,
        found: list[ScheduledCustomer],
        today: date,
        now: datetime,
    ) -> list[TaskChange]:
        known = await customer_store.lock(work, [each.customer_id for each in found])
        owners = {each.profile.owner_id for each in found}
        inputs = await self.policies.task_inputs(work, owners, self.clock.now())
        tasks = [
            planned_task(
                known[each.customer_id].state,
                known[each.customer_id].wishes,
                inputs,
                kind="care",
                name=schedule.name,
                occurrence=today.isoformat(),
                title=schedule.title,
                playbook=schedule.playbook,
                at=now,
            )
            for each in found
            # Since they were read, one may be part of another customer, or to be left alone.
            if known[each.customer_id].part_of is None
            and known[each.customer_id].state.left_alone is None
        ]
        decisions = BatchDecisions()
        for task in await schedule_store.new_only(work, tasks):
            decisions.open(task, OUTSIDE_TOPICS)
        changes, messages = await self.recorder.write(work, decisions, self.clock.now())
        await OUTBOX.add(work, messages)
        return changes
