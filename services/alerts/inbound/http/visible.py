"""Limits what a token that is limited to owners sees and changes to their tasks."""

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Depends, HTTPException

from services.alerts.inbound.http.dependencies import Parts
from services.alerts.store.tasks import Tasks
from shared.http.access import Scope, held_by
from shared.http.borders import Holder
from shared.postgres.engine import UnitOfWork, unit_of_work

Owners = frozenset[str] | None
"""The owners whose tasks are visible; None: all."""


async def owners_of(work: UnitOfWork, holder: Holder) -> Owners:
    """Return the owners whose tasks a holder sees: those named, and whom these manage today."""
    if holder.owner_ids is None:
        return None
    rows = await work.driver.fetch(
        "SELECT id FROM alerts.owner WHERE manager_id = ANY($1::text[])", list(holder.owner_ids)
    )
    return holder.owner_ids | {row["id"] for row in rows}


def of_visible_task(parts: Parts, scope: Scope) -> Callable[..., Awaitable[Holder]]:
    """Returns a dependency of routes about one task: 404 unless the holder may see it.

    Its value is the holder.
    """
    held = held_by(parts.tokens, scope, by_owner=True)

    async def check(task_id: str, holder: Annotated[Holder, Depends(held)]) -> Holder:
        if holder.owner_ids is not None:
            async with unit_of_work(parts.engine) as work:
                owners = await owners_of(work, holder)
                if await Tasks().find(work, task_id, owners) is None:
                    raise HTTPException(404, f"no task {task_id!r}")
        return holder

    return check
