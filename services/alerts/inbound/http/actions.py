"""HTTP routes of owners' actions on a task.

Each requires a token with `tasks:write`, accepts an `Idempotency-Key`, and stores who acts: the
person that the token acts for, or the token's name.
"""

from collections.abc import Callable
from typing import Annotated, TypeVar

from fastapi import Depends, FastAPI, HTTPException, Response
from pydantic import BaseModel, ConfigDict, Field

from services.alerts.core.task_lifecycle import (
    Acknowledge,
    Action,
    Closed409,
    Comment,
    Dismiss,
    Escalate,
    Reassign,
    Snooze,
    Start,
)
from services.alerts.inbound.http.dependencies import Parts
from services.alerts.inbound.http.idempotency import IdempotencyKey
from services.alerts.inbound.http.task_schemas import TaskView, view
from services.alerts.inbound.http.visible import of_visible_task
from services.alerts.ports import TaskChange
from shared.contracts.events import ID_LENGTH_MAX
from shared.http.declared import audits
from shared.http.fields import Instant
from shared.http.holder import Holder
from shared.http.idempotency import Key
from shared.postgres.engine import UnitOfWork

WORDS_MAX = 4_000
"""Most characters of a comment, a reason or a note."""


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Nothing(_Body):
    """An empty body."""


class SnoozeBody(_Body):
    """Until when the task leaves the queue; without a time it returns at once."""

    until: Instant | None = None


class CommentBody(_Body):
    """A comment on the task."""

    text: str = Field(min_length=1, max_length=WORDS_MAX)


class ReassignBody(_Body):
    """The new owner of the task."""

    owner_id: str = Field(min_length=1, max_length=ID_LENGTH_MAX)
    owner_name: str | None = Field(None, max_length=200)
    reason: str | None = Field(None, max_length=WORDS_MAX)


class EscalateBody(_Body):
    """The person who is asked for help; by default the owner's manager."""

    to: str | None = Field(None, min_length=1, max_length=ID_LENGTH_MAX)
    reason: str | None = Field(None, max_length=WORDS_MAX)


class DismissBody(_Body):
    """Why it is not worth doing."""

    note: str = Field(min_length=1, max_length=WORDS_MAX)


Body = TypeVar("Body", bound=_Body)


def add_actions(app: FastAPI, parts: Parts) -> None:
    """Add `POST /v1/tasks/{task_id}/<action>`."""
    once = IdempotencyKey(parts.engine, parts.clock)
    visible = of_visible_task(parts, "tasks:write")

    def add(name: str, kind: type[Body], make: Callable[[Body], Action], text: str) -> None:
        async def action(
            task_id: str,
            holder: Annotated[Holder, Depends(visible)],
            body: Body,
            key: Key = None,
        ) -> Response:
            request_text = f"{name} {task_id} {body.model_dump_json()}"
            changes: list[TaskChange] = []

            async def carry_out(work: UnitOfWork) -> BaseModel:
                task, sent = await parts.act.within(work, task_id, make(body), holder.actor)
                if task is None:
                    raise HTTPException(404, f"no task {task_id!r}")
                changes.extend(sent)
                return view(task, None)

            try:
                answer = await once(holder, key, request_text, carry_out)
            except Closed409:
                raise HTTPException(
                    409, "this task is closed: only comments can be added"
                ) from None
            parts.act.announcer.ring(changes)
            return answer

        # The route's own body type; where no field is required, the body may be left out.
        action.__annotations__["body"] = kind
        needed = any(field.is_required() for field in kind.model_fields.values())
        action.__defaults__ = (... if needed else kind(), None)
        app.post(
            f"/v1/tasks/{{task_id}}/{name}",
            response_model=TaskView,
            tags=["tasks"],
            summary=text,
            operation_id=f"{name}_task",
        )(audits("personal")(action))

    add("acknowledge", Nothing, lambda _: Acknowledge(), "Record that the owner has seen it")
    add("start", Nothing, lambda _: Start(), "Record that the owner works on it")
    add("snooze", SnoozeBody, lambda b: Snooze(b.until), "Take it out of the queue until a time")
    add("comments", CommentBody, lambda b: Comment(b.text), "Add words to it")
    add("reassign", ReassignBody, _reassign, "Give it to another owner")
    add("escalate", EscalateBody, lambda b: Escalate(b.to, b.reason), "Ask a manager for help")
    add("dismiss", DismissBody, lambda b: Dismiss(b.note), "Close it as not worth doing")


def _reassign(body: ReassignBody) -> Reassign:
    return Reassign(body.owner_id, body.owner_name, body.reason)
