"""Handles changes of segments and grades: each entry raises one task, an exit ends it.

An entry is identified by its sequence number: sent again after a crash, or read again after a
take-over, it has no further effect. An exit ends the task of an earlier entry. A change of the
grade is stored, so that tasks which no assessment raises have it.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, get_args

import msgspec

from services.alerts import metrics
from services.alerts.core.customer import Closed, CustomerState, OpenTask, regraded
from services.alerts.core.policy_document import Policy
from services.alerts.core.policy_parts import Both
from services.alerts.core.scheduled_tasks import (
    cause_of,
    planned_id,
    planned_task,
)
from services.alerts.core.task import Task, TaskInputs
from services.alerts.handlers.drop_erased import drop_erased
from services.alerts.handlers.merge_customers import MergeCustomers
from services.alerts.handlers.record_task_changes import BatchDecisions, RecordTaskChanges, count
from services.alerts.ports import ClassificationChanged, Decoded, KnownCustomer
from services.alerts.store import customers as customer_store
from services.alerts.store import schedules as schedule_store
from services.alerts.store.policies import Policies
from shared.contracts.changes import CustomerChanged
from shared.contracts.risk import Grade
from shared.kafka.batch import Batch
from shared.kafka.transaction import BatchTransactions
from shared.postgres.engine import UnitOfWork
from shared.postgres.ledger import Move
from shared.runtime.clock import Clock

_GRADES: Final[frozenset[str]] = frozenset(get_args(Grade))

Decode = Callable[[Batch], Decoded[ClassificationChanged]]


@dataclass(frozen=True, slots=True)
class _News:
    """The changes to act on, in the log's order."""

    entries: list[ClassificationChanged]
    left: list[ClassificationChanged]
    grades: list[ClassificationChanged]

    @classmethod
    def of(cls, changed: Sequence[ClassificationChanged], policy: Policy) -> "_News":
        """Select the changes to act on from a batch.

        A silent change counts for the grade, but not for segments. An exit counts whatever the
        present policy defines: the task may be of an earlier version.
        """
        wanted = {rule.segment for rule in policy.on_segment}
        loud = [each for each in changed if not each.change.silent]
        return cls(
            [
                each
                for each in loud
                if each.change.kind == "segment_entered"
                and (each.change.segment in wanted or each.change.action is not None)
            ],
            [e for e in loud if e.change.kind == "segment_left" and e.change.segment],
            [e for e in changed if e.change.kind == "grade_changed" and e.change.after in _GRADES],
        )


class _Outcome:
    """The decisions of a batch, and the customers after them."""

    def __init__(self, known: dict[str, KnownCustomer]) -> None:
        self.decisions = BatchDecisions()
        self.known = known
        self._states = {customer: found.state for customer, found in known.items()}
        self._open = {c: {t.cause: t for t in s.open} for c, s in self._states.items()}

    @property
    def regraded(self) -> list[CustomerState]:
        """Customers with a newer grade."""
        return [s for c, s in self._states.items() if s is not self.known[c].state]

    def regrade(self, change: CustomerChanged) -> None:
        """Set the customer's new grade, which the tasks raised after it get."""
        customer, grade = change.customer_id, msgspec.convert(change.after, Grade)
        self._states[customer] = regraded(self._states[customer], grade, change.at)

    def enter(self, each: ClassificationChanged, inputs: TaskInputs) -> None:
        """Raise the task of an entry, unless one of this segment is open."""
        customer = each.customer_id
        task = _task(each.change, self._states[customer], self.known[customer], inputs)
        if task is None or task.cause in self._open[customer]:
            return
        self._open[customer][task.cause] = OpenTask(
            task.id, task.cause, task.opened_at, by_risk=False, causes=tuple(task.causes)
        )
        self.decisions.open(task, each.tp)

    def leave(self, each: ClassificationChanged, later: set[str]) -> None:
        """End the segment's open task, whatever its progress, as for a sign that is over.

        `later`: tasks of entries that came after this exit; they stay.
        """
        change = each.change
        task = self._open[change.customer_id].get(cause_of("segment", change.segment or ""))
        if task is None or task.id in later:
            return
        del self._open[change.customer_id][task.cause]
        self.decisions.close(Closed(task, max(task.opened_at, change.at), "left_segment"), each.tp)


@dataclass(frozen=True, slots=True, kw_only=True)
class HandleSegmentEntries:
    """Handles batches of `ebbwatch.changes`."""

    transactions: BatchTransactions
    decode: Decode
    policies: Policies
    recorder: RecordTaskChanges
    clock: Clock
    deliveries_queued: asyncio.Event
    """Set once deliveries are committed: wakes the delivery sender of this process."""

    async def __call__(self, batch: Batch) -> Sequence[Move]:
        """Process a batch; return the offsets that were committed with the effects."""
        if not batch:
            return []
        decoded = self.decode(batch)
        moves = batch.moves()
        now = self.clock.now()
        async with self.transactions.open(moves) as transaction:
            work = transaction.work
            changed = await drop_erased(work, "changes", decoded)
            moved, news = await MergeCustomers(recorder=self.recorder)(work, changed, now)
            _, policy = await self.policies.current(work)
            outcome = await self._enter(work, _News.of(changed, policy), now)
            await customer_store.write(work, outcome.regraded, outcome.known)
            changes, messages = await self.recorder.write(work, outcome.decisions, now)
            transaction.messages += [*decoded.dead, *news, *messages]
        if changes or moved:
            self.deliveries_queued.set()
        metrics.DEAD_LETTERS.labels("changes").inc(len(decoded.dead))
        ended = [each for each in moved if each.task.status == "closed"]
        count([*changes, *ended], self.clock.now())
        await transaction.send()
        return moves

    async def _enter(self, work: UnitOfWork, news: _News, now: datetime) -> _Outcome:
        """Apply the changes in the order of their sequence numbers."""
        left = await self._with_tasks(work, news)
        concerned = {c.customer_id for c in (*news.entries, *left, *news.grades)}
        if not concerned:
            return _Outcome({})
        known = await customer_store.lock(work, concerned)
        # Published before an id became part of another customer, and read after it.
        entered = [e for e in news.entries if known[e.customer_id].part_of is None]
        first = await schedule_store.first_entries(work, [e.change for e in entered])
        state_of = {customer: found.state for customer, found in known.items()}
        ids = {_id(e.change, state_of[e.customer_id]): e.customer_id for e in entered}
        stored = await schedule_store.stored(work, ids)
        entries = await schedule_store.entries(work, [each.change for each in left])
        owners = {each.contact.owner_id for each in known.values()}
        inputs = await self.policies.task_inputs(work, owners, now)
        outcome = _Outcome(known)
        for each in sorted((*entered, *left, *news.grades), key=lambda e: e.change.sequence):
            change = each.change
            state = state_of[change.customer_id]
            if change.kind == "grade_changed":
                outcome.regrade(change)
            elif change.kind == "segment_left":
                outcome.leave(each, _later(change, state, entries))
            elif (change.customer_id, change.sequence) in first and _id(
                change, state
            ) not in stored:
                outcome.enter(each, inputs)
        return outcome

    async def _with_tasks(self, work: UnitOfWork, news: _News) -> list[ClassificationChanged]:
        """Return the exits that may end a task: an open one, or one that this batch raises."""
        if not news.left:
            return []
        open_ = await schedule_store.with_open_task(work, [_key(e.change) for e in news.left])
        open_ |= {_key(e.change) for e in news.entries}
        return [each for each in news.left if _key(each.change) in open_]


def _key(change: CustomerChanged) -> tuple[str, str]:
    """Return the customer, and the cause of the segment's tasks."""
    return change.customer_id, cause_of("segment", change.segment or "")


def _id(change: CustomerChanged, state: CustomerState) -> str:
    """Return the id of the task of an entry."""
    return planned_id("segment", state.identity, change.segment or "", str(change.sequence))


def _later(
    left: CustomerChanged, state: CustomerState, entries: set[tuple[str, str, int]]
) -> set[str]:
    """Return the ids of the tasks of entries into the segment that came after this exit."""
    return {
        planned_id("segment", state.identity, segment, str(sequence))
        for customer, segment, sequence in entries
        if (customer, segment) == (left.customer_id, left.segment) and sequence > left.sequence
    }


def _task(
    change: CustomerChanged, state: CustomerState, known: KnownCustomer, inputs: TaskInputs
) -> Task | None:
    """Return the task of an entry; None where the customer is to be left alone."""
    if state.left_alone is not None:
        return None
    segment = change.segment or ""
    rule = next((r for r in inputs.policy.on_segment if r.segment == segment), None)
    title = Both(en=f"Entered the segment {segment}"[:500], zh=f"进入分群 {segment}"[:500])
    return planned_task(
        state,
        known.wishes,
        inputs,
        kind="segment",
        name=segment,
        occurrence=str(change.sequence),
        title=rule.title if rule else title,
        playbook=rule.playbook if rule else change.action or "",
        at=change.at,
    )
