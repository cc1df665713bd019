"""Writes the decisions about tasks: the tasks, their messages to endpoints, the treatments.

It takes one set of statements per batch, whatever caused the decisions (an assessment, a purchase,
an owner), all in the caller's transaction.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from services.alerts import metrics
from services.alerts.core import webhook_payload as payload
from services.alerts.core.experiment_subject import ExperimentSubject
from services.alerts.core.policy import Closed, Joined
from services.alerts.core.task import Task, close, heeding
from services.alerts.core.task_lifecycle import RISK, TaskEvent
from services.alerts.delivery.ports import NewDelivery
from services.alerts.delivery.store.deliveries import Deliveries
from services.alerts.delivery.store.endpoints import Endpoints
from services.alerts.ports import TaskChange
from services.alerts.store import consents as consent_store
from services.alerts.store import customer_messages as message_store
from services.alerts.store import task_log
from services.alerts.store import tasks as task_store
from services.alerts.store import trials as trial_store
from shared.contracts import treatment
from shared.contracts.treatment import TreatmentRecorded
from shared.observability.tracing import trace_for, traceparent
from shared.postgres.engine import UnitOfWork
from shared.postgres.ledger import TopicPartition
from shared.postgres.outbox import Message
from shared.runtime.clock import Clock


@dataclass(frozen=True, slots=True)
class Joining:
    """Causes that join an open task; `grow` returns the task after it."""

    joined: Joined
    grow: Callable[[Task], Task]
    tp: TopicPartition


@dataclass(frozen=True, slots=True)
class TaskUpdate:
    """An update of an open task by its customer's first assessment; `grow` returns the task."""

    task_id: str
    grow: Callable[[Task], Task]
    tp: TopicPartition


@dataclass(slots=True)
class BatchDecisions:
    """The decisions of one batch, in order. A batch may raise, join and close the same task."""

    raised: dict[str, Task] = field(default_factory=dict)
    """New tasks by id, as they are at the end of the batch."""
    changes: list[TaskChange] = field(default_factory=list)
    """Changes of new tasks."""
    closed: dict[str, tuple[Closed, TopicPartition]] = field(default_factory=dict)
    """Ends of tasks that were stored before, by task id."""
    joinings: list[Joining] = field(default_factory=list)
    """Causes that join tasks stored before. They are written before ends."""
    updates: list[TaskUpdate] = field(default_factory=list)
    """Updates of tasks stored before. They are written before ends, and sent to endpoints."""
    events: list[TaskEvent] = field(default_factory=list)
    """Further events for the history of tasks."""

    trials: list[tuple[ExperimentSubject, TopicPartition]] = field(default_factory=list)
    """Customers who were treated or held out."""

    def open(self, task: Task, tp: TopicPartition) -> None:
        """Add a new task."""
        self.raised[task.id] = task
        self.changes.append(TaskChange(task, tp))

    def join(self, joining: Joining, recorded_at: datetime) -> None:
        """Add further causes of an open task, new or stored; `recorded_at`: wall clock."""
        step = joining.joined
        self.events.append(_joined(step, recorded_at))
        task = self.raised.get(step.task.id)
        if task is None:
            self.joinings.append(joining)
        else:
            self.raised[task.id] = joining.grow(task)
            self.changes.append(TaskChange(self.raised[task.id], joining.tp, step.causes))

    def close(self, closed: Closed, tp: TopicPartition) -> None:
        """Add the end of a task, new or stored."""
        task = self.raised.get(closed.task.id)
        if task is None:
            self.closed[closed.task.id] = closed, tp
        else:
            self.raised[task.id] = close(task, closed)
            self.changes.append(TaskChange(self.raised[task.id], tp))


@dataclass(frozen=True, slots=True)
class RecordTaskChanges:
    """Writes the decisions of batches. `routes`: which endpoints receive which changes."""

    routes: Endpoints
    treatment_topic: str

    async def write(
        self, work: UnitOfWork, decisions: BatchDecisions, now: datetime
    ) -> tuple[list[TaskChange], list[Message]]:
        """Store the tasks and deliveries of a batch; return its changes and what to publish.

        Ends come before new tasks: a customer may have both, by the same record.
        """
        grown = await self._grow(work, decisions.joinings)
        updated = await self._update(work, decisions.updates)
        ended = await task_store.close(work, [closed for closed, _ in decisions.closed.values()])
        raised = list(decisions.raised.values())
        await task_store.add(work, raised)
        await message_store.add(work, raised)
        await trial_store.add(work, [trial for trial, _ in decisions.trials])
        await task_log.add(work, decisions.events)
        ended_changes = [TaskChange(task, decisions.closed[task.id][1]) for task in ended]
        changes = [*grown, *ended_changes, *decisions.changes]
        await self.queue_deliveries(work, [*updated, *changes], now)
        # A customer is treated from the first cause on: a joined cause is no further treatment.
        messages = [self.publish(payload.treatment(c.task), c.tp) for c in changes if not c.joined]
        messages += [
            self.publish(payload.held_out(trial), tp)
            for trial, tp in decisions.trials
            if trial.arm == "held_out"
        ]
        return changes, messages

    async def _grow(self, work: UnitOfWork, joinings: Sequence[Joining]) -> list[TaskChange]:
        """Let causes join stored tasks, in order; each is a change of its own."""
        if not joinings:
            return []
        stored = await task_store.find_all(work, sorted({j.joined.task.id for j in joinings}))
        tasks = {task.id: task for task in stored}
        changes = []
        for each in joinings:
            task = each.grow(tasks[each.joined.task.id])
            tasks[task.id] = task
            changes.append(TaskChange(task, each.tp, each.joined.causes))
        await task_store.write(work, list(tasks.values()))
        return changes

    async def _update(self, work: UnitOfWork, updates: Sequence[TaskUpdate]) -> list[TaskChange]:
        """Update stored tasks with the data of their customers' first assessment."""
        if not updates:
            return []
        stored = await task_store.find_all(work, [each.task_id for each in updates])
        by_id = {each.task_id: each for each in updates}
        changes = [TaskChange(by_id[task.id].grow(task), by_id[task.id].tp) for task in stored]
        await task_store.write(work, [change.task for change in changes])
        return changes

    async def queue_deliveries(
        self, work: UnitOfWork, changes: Sequence[TaskChange], now: datetime
    ) -> None:
        """Queue a message about each change for every endpoint with a matching route.

        Every message about a task is made here, and names the channel that the customer allows
        now. A task that waits (`task.waiting`) gets its first delivery from `RunTaskTimers`.
        """
        if not changes:
            return
        routes = await self.routes.routes(work)
        sent = [change.task for change in changes if not change.task.waiting]
        asked = {t.customer_id for t in sent if t.status == "open" and t.plan.channels}
        wishes = await consent_store.wishes(work, asked) if asked else {}
        sent = [heeding(t, wishes[t.customer_id]) if t.customer_id in asked else t for t in sent]
        await Deliveries().add(
            work,
            [
                NewDelivery(
                    customer_id=task.customer_id,
                    id=payload.delivery_id(task, each.endpoint_id),
                    endpoint_id=each.endpoint_id,
                    task_id=task.id,
                    kind=payload.kind_of(task),
                    body=payload.body(task, each.payload),
                    created_at=now,
                    received_ms=task.received_ms if task.status == "open" else 0,
                    traceparent=traceparent(trace_for(task.customer_id.encode())),
                )
                for task in sent
                for each in routes
                if each.route.matches(task, payload.kind_of(task))
            ],
        )

    def publish(self, fact: TreatmentRecorded, tp: TopicPartition) -> Message:
        """Return a message for the treatment topic, keyed by customer."""
        return Message(
            tp, self.treatment_topic, fact.customer_id.encode(), treatment.ENCODER.encode(fact)
        )


@dataclass(frozen=True, slots=True)
class Announcer:
    """Announces in this process what was committed about tasks."""

    clock: Clock
    deliveries_queued: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once deliveries are committed: wakes the delivery sender of this process."""
    treatments_queued: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once messages for `ebbwatch.treatment` are committed: wakes `PublishVerdicts`."""

    def wake(self) -> None:
        """Wake the sender and the relay."""
        self.deliveries_queued.set()
        self.treatments_queued.set()

    def ring(self, changes: Sequence[TaskChange]) -> None:
        """Wake both if there are changes, and count those that close a task."""
        if changes:
            self.wake()
            count([c for c in changes if c.task.status == "closed"], self.clock.now())


def _joined(step: Joined, recorded_at: datetime) -> TaskEvent:
    return TaskEvent(
        customer_id=step.customer_id,
        task_id=step.task.id,
        at=step.at,
        recorded_at=recorded_at,
        actor=RISK,
        kind="joined",
        detail={"causes": list(step.causes)},
    )


def count(changes: Sequence[TaskChange], now: datetime) -> None:
    """Count committed changes; `now` is just after the commit, wall clock."""
    for change in changes:
        task = change.task
        if task.status == "closed":
            metrics.TASKS_CLOSED.labels(task.cause, task.close_reason).inc()
            continue
        if change.joined:
            for cause in change.joined:
                metrics.TASKS_RAISED.labels(cause).inc()
            continue
        metrics.TASKS_RAISED.labels(task.cause).inc()
        if task.received_ms:
            metrics.TASK_LATENCY_S.observe(now.timestamp() - task.received_ms / 1000)
