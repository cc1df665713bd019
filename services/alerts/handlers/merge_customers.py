"""Moves tasks and purchases when ids become one customer, and back when they come apart.

One open task per customer and cause still holds: of two with a cause in common, the survivor's
stays and the other closes as merged. Endpoints are notified of both. Repeating the last message
about a customer changes nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, get_args

from services.alerts.core.policy import Closed
from services.alerts.handlers.record_task_changes import BatchDecisions, RecordTaskChanges
from services.alerts.ports import ClassificationChanged, KnownCustomer, TaskChange
from services.alerts.store.customers import Customers
from services.alerts.store.merges import Merges
from shared.contracts.changes import IdentityKind
from shared.postgres.engine import UnitOfWork
from shared.postgres.outbox import Message

KINDS: Final[frozenset[str]] = frozenset(get_args(IdentityKind))


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeCustomers:
    """Applies `customer_merged` and `customer_unmerged` within a transaction."""

    customers: Customers
    recorder: RecordTaskChanges
    merges: Merges = field(default_factory=Merges)

    async def __call__(
        self, work: UnitOfWork, changed: Sequence[ClassificationChanged], now: datetime
    ) -> tuple[list[TaskChange], list[Message]]:
        """Returns the changed tasks and what to publish; `now`: wall clock.

        Locks all customers of the batch, in one order, if any are merged."""
        about = [each for each in changed if each.change.kind in KINDS]
        if not about:
            return [], []
        ids = {each.change.customer_id for each in changed}
        await self.customers.lock(work, ids | {e.change.primary_id or "" for e in about} - {""})
        changes: list[TaskChange] = []
        messages: list[Message] = []
        for each in about:
            made, sent = await self._apply(work, each, now)
            changes += made
            messages += sent
        return changes, messages

    async def _apply(
        self, work: UnitOfWork, each: ClassificationChanged, now: datetime
    ) -> tuple[list[TaskChange], list[Message]]:
        one, primary = each.change.customer_id, each.change.primary_id
        if primary is None:
            return [], []
        known = await self.customers.lock(work, {one, primary})
        if each.change.kind == "customer_merged":
            if known[one].part_of == primary:
                return [], []
            return await self._merge(work, each, known[one], known[primary], now)
        if known[one].part_of != primary:
            return [], []
        moved = await self.merges.move_tasks(
            work, await self.merges.came_with(work, one, primary), primary, one
        )
        await self.merges.give_back(work, one, primary)
        await self.merges.redirect(work, one, None)
        return await self._updated(work, [TaskChange(task, each.tp) for task in moved], now), []

    async def _merge(
        self,
        work: UnitOfWork,
        each: ClassificationChanged,
        one: KnownCustomer,
        primary: KnownCustomer,
        now: datetime,
    ) -> tuple[list[TaskChange], list[Message]]:
        to = primary.state.customer_id
        taken = {cause for task in primary.state.open for cause in (task.cause, *task.causes)}
        decisions, moving = BatchDecisions(), []
        for task in one.state.open:
            if taken.isdisjoint({task.cause, *task.causes}):
                moving.append(task.id)
                taken |= {task.cause, *task.causes}
            else:
                at = max(task.opened_at, each.change.at)
                decisions.close(Closed(task, at, "merged"), each.tp)
        changes, messages = await self.recorder.write(work, decisions, now)
        moved = await self.merges.move_tasks(work, moving, one.state.customer_id, to)
        await self.merges.take_over(work, one.state.customer_id, to)
        await self.merges.redirect(work, one.state.customer_id, to)
        updated = await self._updated(work, [TaskChange(task, each.tp) for task in moved], now)
        return [*changes, *updated], messages

    async def _updated(
        self, work: UnitOfWork, changes: list[TaskChange], now: datetime
    ) -> list[TaskChange]:
        """Queues the messages about moved tasks: each is `retention_task.updated`."""
        await self.recorder.queue_deliveries(work, changes, now)
        return changes
