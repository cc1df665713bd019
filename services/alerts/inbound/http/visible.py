"""Limits what a token that is limited to owners sees and changes to their tasks."""

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Depends, HTTPException
from sqlalchemy.ext.asyncio import AsyncEngine

from services.alerts.inbound.http.dependencies import Parts
from services.alerts.store import tasks as task_store
from shared.http.access import held_by
from shared.http.holder import Holder
from shared.http.scopes import Scope
from shared.postgres.engine import UnitOfWork, unit_of_work

Owners = frozenset[str] | None
"""The owners with visible tasks; None: all."""


async def owners_of(work: UnitOfWork, holder: Holder) -> Owners:
    """Return the owners with tasks that a holder sees: those named, and those they manage today.

    On behalf of a person: those that both the token and the person see.
    """
    seen: Owners = None
    for limit in holder.limits:
        rows = await work.driver.fetch(
            "SELECT id FROM alerts.owner WHERE manager_id = ANY($1::text[])", list(limit)
        )
        team = limit | {row["id"] for row in rows}
        seen = team if seen is None else seen & team
    return seen


async def owners_now(engine: AsyncEngine, holder: Holder) -> Owners:
    """Return the same, in a transaction of its own."""
    async with unit_of_work(engine) as work:
        return await owners_of(work, holder)


def of_visible_task(parts: Parts, scope: Scope) -> Callable[..., Awaitable[Holder]]:
    """Returns a dependency of routes about one task: 404 unless the holder may see it.

    Its value is the holder.
    """
    held = held_by(parts.tokens, scope, by_owner=True)

    async def check(task_id: str, holder: Annotated[Holder, Depends(held)]) -> Holder:
        if holder.limits:
            async with unit_of_work(parts.engine) as work:
                owners = await owners_of(work, holder)
                if await task_store.find(work, task_id, owners) is None:
                    raise HTTPException(404, f"no task {task_id!r}")
        return holder

    return check
