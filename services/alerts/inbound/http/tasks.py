"""HTTP routes of tasks: lists, an owner's queue, one task with its history, the verdict."""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException, Query
from pydantic import BaseModel, ConfigDict, Field

from services.alerts.core.playbook import Queue
from services.alerts.core.task import Status, Task
from services.alerts.core.wording.numbers import Language
from services.alerts.handlers.give_verdict import Conflict
from services.alerts.inbound.http.dependencies import Parts
from services.alerts.inbound.http.task_schemas import (
    EventView,
    OutcomeView,
    TaskDetail,
    TaskPage,
    TaskView,
    fields,
    view,
)
from services.alerts.inbound.http.visible import of_visible_task, owners_of
from services.alerts.ports import VerdictGiven
from services.alerts.store import task_log
from services.alerts.store import tasks as task_store
from services.alerts.store import trials as trial_store
from services.alerts.store.tasks import QueueFilter, QueueKey, TaskFilter
from shared.contracts.treatment import LeavingCause, Verdict
from shared.http.access import held_by
from shared.http.declared import audits
from shared.http.holder import Holder
from shared.http.paging import Cursor, Limit, number, of_cursor, page_of, time, whole
from shared.kernel.errors import Invalid
from shared.postgres.engine import UnitOfWork, unit_of_work

NOTE_LENGTH_MAX = 4_000
"""Most characters of an owner's note."""
HISTORY_MAX = 200
"""Most events shown with a task: the newest."""

Words = Annotated[Language | None, Query(description="of the sentences; default: each task's own")]


class VerdictBody(BaseModel):
    """An owner's verdict."""

    model_config = ConfigDict(extra="forbid")

    verdict: Verdict
    note: str | None = Field(None, max_length=NOTE_LENGTH_MAX)
    leaving_cause: LeavingCause | None = None
    """Why the customer leaves; only with the verdict `leaving`."""


def add_tasks(app: FastAPI, parts: Parts) -> None:
    """Add the lists of `/v1/tasks`, and `/v1/queue`."""
    reader = held_by(parts.tokens, "customers:read", by_owner=True)

    @app.get("/v1/tasks", tags=["tasks"])
    async def list_tasks(
        holder: Annotated[Holder, Depends(reader)],
        status: Status | None = None,
        owner: str | None = None,
        customer_id: str | None = None,
        language: Words = None,
        cursor: Cursor = None,
        limit: Limit = 50,
    ) -> TaskPage:
        """List tasks, newest first; sentences in `language`, or in each task's own."""
        after = None if cursor is None else _task_cursor(cursor)
        async with unit_of_work(parts.engine) as work:
            owners = await owners_of(work, holder)
            chosen = TaskFilter(status, owner, customer_id, owners)
            found = await task_store.page(work, chosen, after, limit + 1)
        return _page(found, limit, language, lambda t: f"{t.opened_at.isoformat()} {t.id}")

    @app.get("/v1/queue", tags=["tasks"])
    async def read_queue(
        holder: Annotated[Holder, Depends(reader)],
        queue: Queue = "owner",
        owner: str | None = None,
        language: Words = None,
        cursor: Cursor = None,
        limit: Limit = 50,
    ) -> TaskPage:
        """List open tasks in the order of work: by grade if the policy sets it, then by worth."""
        after = None if cursor is None else _queue_cursor(cursor)
        async with unit_of_work(parts.engine) as work:
            now, owners = await parts.business_clock.now(work), await owners_of(work, holder)
            chosen = QueueFilter(queue, owner, now, owners)
            found = await task_store.queue(work, chosen, after, limit + 1)
        return _page(found, limit, language, lambda t: f"{t.grade_rank} {t.worth!r} {t.id}")


def add_task(app: FastAPI, parts: Parts) -> None:
    """Add `/v1/tasks/{task_id}` and its verdict."""
    reads = [Depends(of_visible_task(parts, "customers:read"))]
    writer = of_visible_task(parts, "tasks:write")

    @app.get("/v1/tasks/{task_id}", dependencies=reads, tags=["tasks"])
    async def read_task(task_id: str, language: Words = None) -> TaskDetail:
        """Return one task with its history and its outcome."""
        async with unit_of_work(parts.engine) as work:
            task = await task_store.find(work, task_id)
            if task is None:
                raise HTTPException(404, f"no task {task_id!r}")
            return await _detail(work, task, language)

    @app.post("/v1/tasks/{task_id}/close", tags=["tasks"])
    @audits("personal")
    async def close_task(
        task_id: str, body: VerdictBody, holder: Annotated[Holder, Depends(writer)]
    ) -> TaskView:
        """Close a task with the owner's verdict. Repeating the verdict changes nothing."""
        result = await parts.give_verdict(given(task_id, body, holder.actor))
        if result is None:
            raise HTTPException(404, f"no task {task_id!r}")
        if isinstance(result, Conflict):
            raise HTTPException(409, f"this task has the verdict `{result.task.verdict}` already")
        return view(result, None)


def given(task_id: str, body: VerdictBody, actor: str) -> VerdictGiven:
    """Return the verdict of a request; Invalid where its fields contradict one another."""
    if body.leaving_cause is not None and body.verdict != "leaving":
        raise Invalid("leaving_cause", "goes with the verdict `leaving` only")
    return VerdictGiven(task_id, body.verdict, body.note, body.leaving_cause, actor)


async def _detail(work: UnitOfWork, task: Task, language: Language | None) -> TaskDetail:
    trial = await trial_store.find(work, task.id, task.customer_id)
    events = await task_log.of(work, task.id, HISTORY_MAX)
    return TaskDetail.model_validate(
        fields(task, language)
        | {
            "delivered_at": await task_store.delivered_at(work, task),
            "history": [EventView.model_validate(event) for event in events],
            "outcome": None
            if trial is None
            else OutcomeView.model_validate(trial, from_attributes=True),
        }
    )


def _page(
    found: list[Task], limit: int, language: Language | None, key: Callable[[Task], str]
) -> TaskPage:
    page, after = page_of(found, limit, key)
    return TaskPage(items=[view(task, language) for task in page], next=after)


def _queue_cursor(cursor: str) -> QueueKey:
    rank, worth, task_id = of_cursor(cursor, whole, number)
    return QueueKey(rank, worth, task_id)


def _task_cursor(cursor: str) -> tuple[datetime, str]:
    at, task_id = of_cursor(cursor, time)
    return at, task_id
