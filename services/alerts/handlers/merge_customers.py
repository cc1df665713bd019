"""Moves tasks and purchases when ids become one customer, and back when they come apart.

One open task per customer and cause still holds: of two with a cause in common, the survivor's
stays and the other closes as merged. Endpoints are notified of both. If by one id
the customer must not be contacted, all open tasks close. Repeating the last message about an id
changes nothing, and messages about different ids are taken in any order.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, get_args

from services.alerts.core.consent import LeftAlone, not_profiled_since
from services.alerts.core.policy import Closed
from services.alerts.handlers.record_task_changes import BatchDecisions, RecordTaskChanges
from services.alerts.ports import ClassificationChanged, ProfileSeen, TaskChange
from services.alerts.store import consents as consent_store
from services.alerts.store import customers as customer_store
from services.alerts.store import merges as merge_store
from shared.contracts.changes import IdentityKind
from shared.postgres.engine import UnitOfWork
from shared.postgres.outbox import Message

KINDS: Final[frozenset[str]] = frozenset(get_args(IdentityKind))


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeCustomers:
    """Applies `customer_merged` and `customer_unmerged` within a transaction."""

    recorder: RecordTaskChanges

    async def __call__(
        self, work: UnitOfWork, changed: Sequence[ClassificationChanged], now: datetime
    ) -> tuple[list[TaskChange], list[Message]]:
        """Returns the changed tasks and what to publish; `now`: wall clock.

        Locks all customers of the batch, in one order, if any are merged."""
        about = [each for each in changed if each.change.kind in KINDS]
        if not about:
            return [], []
        ids = {each.customer_id for each in changed}
        ids |= {e.change.primary_id or "" for e in about} - {""}
        await customer_store.lock(work, ids | {*(await merge_store.primaries(work, ids)).values()})
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
        one, primary = each.customer_id, each.change.primary_id
        if primary is None:
            return [], []
        part_of = await merge_store.primaries(work, [one, primary])
        if each.change.kind == "customer_unmerged":
            return await self._apart(work, each, one, part_of.get(one), now)
        if part_of.get(primary) == one:
            # Its own message about leaving `one` is in another partition, and still to be read.
            undone, sent = await self._apart(work, each, primary, one, now)
            changes, messages = await self._merge(work, each, one, primary, now)
            return [*undone, *changes], [*sent, *messages]
        to = part_of.get(primary, primary)
        if part_of.get(one) == to:
            return [], []
        undone, sent = await self._apart(work, each, one, part_of.get(one), now)
        changes, messages = await self._merge(work, each, one, to, now)
        return [*undone, *changes], [*sent, *messages]

    async def _apart(
        self,
        work: UnitOfWork,
        each: ClassificationChanged,
        one: str,
        of: str | None,
        now: datetime,
    ) -> tuple[list[TaskChange], list[Message]]:
        """Makes an id a customer of its own; `of`: what it is part of, None: it is one already."""
        if of is None:
            return [], []
        await customer_store.lock(work, {one, of})
        tasks = await merge_store.came_with(work, one, of)
        moved = await merge_store.move_tasks(work, tasks, of, one)
        await merge_store.give_back(work, one, of)
        await merge_store.leave(work, one, of)
        await self._remake(work, of)
        return await self._updated(work, [TaskChange(task, each.tp) for task in moved], now), []

    async def _merge(
        self,
        work: UnitOfWork,
        each: ClassificationChanged,
        one: str,
        to: str,
        now: datetime,
    ) -> tuple[list[TaskChange], list[Message]]:
        known = await customer_store.lock(work, {one, to})
        await merge_store.join(work, one, to, contact=each.change.contact)
        profile = await self._remake(work, to)
        refused = await self._left_alone(work, to, profile)
        own, theirs = known[to].state.open, known[one].state.open
        taken = {cause for task in own for cause in (task.cause, *task.causes)}
        decisions, moving = BatchDecisions(), []
        for task in theirs if refused is None else (*own, *theirs):
            at = max(task.opened_at, refused[1] if refused else each.change.at)
            if refused is not None:
                decisions.close(Closed(task, at, refused[0]), each.tp)
            elif taken.isdisjoint({task.cause, *task.causes}):
                moving.append(task.id)
                taken |= {task.cause, *task.causes}
            else:
                decisions.close(Closed(task, at, "merged"), each.tp)
        changes, messages = await self.recorder.write(work, decisions, now)
        moved = await merge_store.move_tasks(work, moving, one, to)
        await merge_store.take_over(work, one, to)
        updated = await self._updated(work, [TaskChange(task, each.tp) for task in moved], now)
        return [*changes, *updated], messages

    async def _left_alone(
        self, work: UnitOfWork, customer: str, profile: ProfileSeen | None
    ) -> tuple[LeftAlone, datetime] | None:
        """Returns the wish by which a customer with several ids has no task, and since when."""
        found = await consent_store.subscriptions(work, [customer])
        since = not_profiled_since(found.get(customer, ()))
        if since is not None:
            return "not_profiled", since
        if profile is not None and profile.profile.do_not_contact:
            return "do_not_contact", profile.at
        return None

    async def _remake(self, work: UnitOfWork, customer: str) -> ProfileSeen | None:
        """Stores and returns the profile of a customer with several ids."""
        made = await merge_store.remade(work, [customer])
        await customer_store.write_profiles(work, made)
        return made.get(customer)

    async def _updated(
        self, work: UnitOfWork, changes: list[TaskChange], now: datetime
    ) -> list[TaskChange]:
        """Queues the messages about moved tasks: each is `retention_task.updated`."""
        await self.recorder.queue_deliveries(work, changes, now)
        return changes
