"""Retention tasks over HTTP: reading them, and owners' verdicts."""

from datetime import UTC, datetime
from typing import Any

import msgspec
from fastapi import Depends, FastAPI, HTTPException
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.ext.asyncio import AsyncEngine

from services.alerts.core.message import told
from services.alerts.core.task import Status, Task
from services.alerts.core.wording.numbers import Language
from services.alerts.handlers.give_verdict import Conflict, GiveVerdict
from services.alerts.ports import VerdictGiven
from services.alerts.store.tasks import TaskFilter, Tasks
from shared.contracts.treatment import Verdict
from shared.http.access import Tokens, require
from shared.http.paging import Limit, decoded, encoded, invalid_cursor
from shared.kernel.errors import Invalid
from shared.postgres.engine import unit_of_work

NOTE_LENGTH_MAX = 4_000
"""Characters of an owner's note."""


class Person(BaseModel):
    """A customer or an owner."""

    id: str
    name: str | None = None


class ReasonView(BaseModel):
    """Why, in words and in numbers."""

    code: str
    text: str
    impact: float
    facts: dict[str, float]


class TaskView(BaseModel):
    """A task with everything that is known of it. Times are UTC."""

    id: str
    version: int
    status: Status
    cause: str
    customer: Person
    owner: Person | None
    band: str
    probability: float
    horizon_days: int
    reasons: list[ReasonView]
    language: str
    value_at_risk: float
    currency: str
    days_silent: float | None
    last_purchase_at: datetime | None
    expected_value: float
    model_version: str
    revision: int
    opened_at: datetime
    due_at: datetime
    created_at: datetime
    closed_at: datetime | None
    close_reason: str | None
    verdict: Verdict | None
    note: str | None


class TaskPage(BaseModel):
    """Tasks, newest first."""

    items: list[TaskView]
    next: str | None


class VerdictBody(BaseModel):
    """What the owner says."""

    model_config = ConfigDict(extra="forbid")

    verdict: Verdict
    note: str | None = Field(None, max_length=NOTE_LENGTH_MAX)


def add_tasks(app: FastAPI, engine: AsyncEngine, tokens: Tokens, give_verdict: GiveVerdict) -> None:
    """Add `/v1/tasks`."""
    tasks = Tasks()
    reads, writes = (
        [Depends(require(tokens, "customers:read"))],
        [Depends(require(tokens, "tasks:write"))],
    )

    @app.get("/v1/tasks", dependencies=reads)
    async def list_tasks(
        status: Status | None = None,
        owner: str | None = None,
        customer_id: str | None = None,
        language: Language | None = None,
        cursor: str | None = None,
        limit: Limit = 50,
    ) -> TaskPage:
        """Tasks, newest first; sentences in `language`, or in each owner's own."""
        chosen = TaskFilter(status, owner, customer_id)
        after = None if cursor is None else _task_cursor(cursor)
        async with unit_of_work(engine) as work:
            found = await tasks.page(work, chosen, after, limit + 1)
        rest = len(found) > limit
        found = found[:limit]
        key = f"{found[-1].opened_at.isoformat()} {found[-1].id}" if rest else None
        return TaskPage(items=[_view(task, language) for task in found], next=encoded(key))

    @app.get("/v1/tasks/{task_id}", dependencies=reads)
    async def read_task(task_id: str, language: Language | None = None) -> TaskView:
        """One task."""
        async with unit_of_work(engine) as work:
            task = await tasks.find(work, task_id)
        if task is None:
            raise HTTPException(404, f"no task {task_id!r}")
        return _view(task, language)

    @app.post("/v1/tasks/{task_id}/close", dependencies=writes)
    async def close_task(task_id: str, body: VerdictBody) -> TaskView:
        """Close a task with the owner's verdict. Saying the same again changes nothing."""
        if "\0" in (body.note or ""):
            raise Invalid("note", "holds the character U+0000: leave it out")
        result = await give_verdict(VerdictGiven(task_id, body.verdict, body.note))
        if result is None:
            raise HTTPException(404, f"no task {task_id!r}")
        if isinstance(result, Conflict):
            raise HTTPException(409, f"this task has the verdict `{result.task.verdict}` already")
        return _view(result, None)


def _view(task: Task, language: Language | None) -> TaskView:
    if language is not None:
        task = msgspec.structs.replace(task, language=language)
    shown: dict[str, Any] = msgspec.structs.asdict(task) | msgspec.to_builtins(told(task))
    shown["reasons"] = [
        {**msgspec.structs.asdict(said), "impact": reason.impact, "facts": reason.facts}
        for said, reason in zip(told(task).reasons, task.reasons, strict=True)
    ]
    return TaskView.model_validate({"owner": None} | shown)


def _task_cursor(cursor: str) -> tuple[datetime, str]:
    at, _, task_id = decoded(cursor).partition(" ")
    try:
        return datetime.fromisoformat(at).astimezone(UTC), task_id
    except ValueError:
        raise invalid_cursor() from None
