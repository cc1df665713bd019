"""Customers enter segments: what the policy or the segment asks for happens once for each entry.

An entry is known by its sequence number, stored with the task: told again after a crash, or read
again after a take-over, it leads to nothing more.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncEngine

from services.alerts import metrics
from services.alerts.core.care import known_of, planned_task
from services.alerts.core.document import Both, Policy
from services.alerts.core.task import Ground, Task
from services.alerts.handlers.assess import NOBODY
from services.alerts.handlers.book import Book, Page, count
from services.alerts.handlers.measure import note_lag
from services.alerts.ports import Changed, Customers, Known, Relay, Rules
from services.alerts.timer_ports import CareRows
from shared.contracts.changes import CustomerChanged
from shared.kafka.batch import Batch
from shared.postgres.engine import UnitOfWork, unit_of_work
from shared.postgres.ledger import Ledger, Move
from shared.postgres.outbox import Message, Outbox
from shared.runtime.clock import Clock

Decode = Callable[[Batch], tuple[list[Changed], list[Message]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Enter:
    """Handles batches of `ebbwatch.changes`."""

    engine: AsyncEngine
    decode: Decode
    ledger: Ledger
    customers: Customers
    rows: CareRows
    rules: Rules
    book: Book
    outbox: Outbox
    relay: Relay
    clock: Clock
    told: asyncio.Event

    async def __call__(self, batch: Batch) -> Sequence[Move]:
        """Act on a batch; returns the offsets that were committed with the effects."""
        note_lag(batch)
        if not batch:
            return []
        changed, dead = self.decode(batch)
        moves = [
            batch.move(tp, len(records), batch.claims[tp].progress)
            for tp, records in batch.records.items()
        ]
        now = self.clock.now()
        async with unit_of_work(self.engine) as work:
            await self.ledger.advance(work, moves)
            await self.relay.forget(work)
            _, policy = await self.rules.current(work)
            page = await self._enter(work, _entries(changed, policy), now)
            changes, messages = await self.book.write(work, page, now)
            pending = await self.outbox.add(work, [*dead, *messages])
        if changes:
            self.told.set()
        metrics.DEAD_LETTERS.labels("changes").inc(len(dead))
        count(changes, self.clock.now())
        await self.relay.flush(pending)
        return moves

    async def _enter(self, work: UnitOfWork, entries: Sequence[Changed], now: datetime) -> Page:
        page = Page()
        if not entries:
            return page
        known = await self.customers.lock(work, {e.change.customer_id for e in entries})
        first = await self.rows.first_entries(work, [e.change for e in entries])
        entries = [e for e in entries if (e.change.customer_id, e.change.sequence) in first]
        owners = {o.id for k in known.values() if k.profile and (o := k.profile.profile.owner)}
        ground = await self.rules.ground(work, owners, now)
        made: dict[tuple[str, str], tuple[Task, Changed]] = {}
        for each in entries:
            task = _task(each.change, known[each.change.customer_id], ground)
            if task is not None:
                # Who enters again in the same batch has the task of the first entry.
                made.setdefault((task.customer_id, task.cause), (task, each))
        for task in await self.rows.new_only(work, [task for task, _ in made.values()]):
            page.open(task, made[task.customer_id, task.cause][1].tp)
        return page


def _entries(changed: Sequence[Changed], policy: Policy) -> list[Changed]:
    """News of segments about which something is to be done."""
    wanted = {rule.segment for rule in policy.on_segment}
    return [
        each
        for each in changed
        if each.change.kind == "segment_entered"
        and not each.change.silent
        and (each.change.segment in wanted or each.change.action is not None)
    ]


def _task(change: CustomerChanged, known: Known, ground: Ground) -> Task | None:
    """The task of an entry; None where the customer must not be contacted."""
    if known.state.do_not_contact_at is not None:
        return None
    segment = change.segment or ""
    rule = next((r for r in ground.policy.on_segment if r.segment == segment), None)
    title = Both(en=f"Entered the segment {segment}"[:500], zh=f"进入分群 {segment}"[:500])
    return planned_task(
        change.customer_id,
        known.profile.profile if known.profile else NOBODY,
        ground,
        kind="segment",
        name=segment,
        occurrence=str(change.sequence),
        title=rule.title if rule else title,
        playbook=rule.playbook if rule else change.action or "",
        known=known_of(known.state),
        at=change.at,
    )
