"""Handles a click on a card: the owner's verdict counts, once; other members' clicks do not.

WeCom repeats a callback until it is answered, and a card can be seen by others. Only the owner's
click counts, and each only once; the accepted verdict is shown on the card.
"""

import hashlib
from dataclasses import dataclass
from typing import Literal

from sqlalchemy.ext.asyncio import AsyncEngine

from services.alerts import metrics
from services.alerts.connectors.core.config import WecomAppConfig
from services.alerts.connectors.core.owners import remote_owner
from services.alerts.connectors.ports import (
    OwnerTable,
)
from services.alerts.connectors.store import CallbackRows
from services.alerts.connectors.wecom import api as wecom
from services.alerts.connectors.wecom.cards import BUTTONS, button
from services.alerts.connectors.wecom.crypto import Click
from services.alerts.core.task import Task
from services.alerts.handlers.give_verdict import Conflict, GiveVerdict
from services.alerts.ports import VerdictGiven
from services.alerts.store import tasks as task_store
from shared.postgres.engine import unit_of_work
from shared.runtime.clock import Clock

Outcome = Literal["taken", "conflict", "repeated", "not_owner", "unknown_task", "ignored"]


@dataclass(frozen=True, slots=True)
class ClickResult:
    """The result of a click. `show`: the text that the card shows from now on."""

    outcome: Outcome
    show: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HandleCardClick:
    """Turns clicks into verdicts."""

    engine: AsyncEngine
    owners: OwnerTable
    callbacks: CallbackRows
    give_verdict: GiveVerdict
    clock: Clock

    async def __call__(self, endpoint_id: str, config: WecomAppConfig, click: Click) -> ClickResult:
        """Handle a click that has been verified to come from WeCom."""
        taken = await self._take(endpoint_id, config, click)
        metrics.WAY_BACK.labels(endpoint_id, taken.outcome).inc()
        return taken

    async def _take(self, endpoint_id: str, config: WecomAppConfig, click: Click) -> ClickResult:
        key = key_of(click)
        if await self.callbacks.seen(endpoint_id, key):
            return ClickResult("repeated")
        async with unit_of_work(self.engine) as work:
            task = await task_store.find(work, wecom.task_of(click.task_id))
        if task is None:
            return ClickResult("unknown_task")
        if click.user_id != await self._owner(endpoint_id, config, task):
            return ClickResult("not_owner")
        verdict = next((each for each in BUTTONS if each == click.event_key), None)
        if verdict is None:
            return ClickResult("ignored")
        given = await self.give_verdict(VerdictGiven(task.id, verdict, None, actor=click.user_id))
        # Recorded afterwards: after a crash in between, WeCom's repetition gives the same verdict,
        # which changes nothing.
        await self.callbacks.note(endpoint_id, key, self.clock.now())
        after = given.task if isinstance(given, Conflict) else given
        if after is None or after.verdict is None:
            return ClickResult("unknown_task")
        show = button(after.verdict, {"language": after.language})
        return ClickResult("conflict" if isinstance(given, Conflict) else "taken", show)

    async def _owner(self, endpoint_id: str, config: WecomAppConfig, task: Task) -> str | None:
        row = None
        if task.owner_id is not None:
            row = await self.owners.remote(endpoint_id, task.owner_id)
        return remote_owner(task.owner_id, row, config)


def key_of(click: Click) -> str:
    """Return a key that is the same for each repetition of a click.

    It consists of member, time, card and button (WeCom's advice: who, when, what).
    """
    parts = (click.user_id, click.created_at, click.task_id, click.event_key)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
