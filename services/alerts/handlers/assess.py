"""Assessments come in: decide about each, and write everything in one transaction."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncEngine

from services.alerts import metrics
from services.alerts.core.policy import Closed, CustomerState, Raised, decide
from services.alerts.core.task import Ground, new_task
from services.alerts.core.trial import new_trial
from services.alerts.handlers.book import Book, Page, count
from services.alerts.handlers.measure import note_lag
from services.alerts.ports import Assessed, Assessments, Customers, Known, Relay, Rules
from shared.contracts.events import Profile
from shared.kafka.batch import Batch
from shared.postgres.engine import unit_of_work
from shared.postgres.ledger import Ledger, Move
from shared.postgres.outbox import Message, Outbox
from shared.runtime.clock import Clock

NOBODY = Profile()
"""Of a customer without a profile."""

Decode = Callable[[Batch], tuple[list[Assessed], list[Message]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Assess:
    """Handles batches of `ebbwatch.risk`."""

    engine: AsyncEngine
    decode: Decode
    ledger: Ledger
    customers: Customers
    rules: Rules
    assessments: Assessments
    book: Book
    outbox: Outbox
    relay: Relay
    clock: Clock
    told: asyncio.Event

    async def __call__(self, batch: Batch) -> Sequence[Move]:
        """Decide a batch; returns the offsets that were committed with the effects."""
        note_lag(batch)
        if not batch:
            return []
        assessed, dead = self.decode(batch)
        moves = [
            batch.move(tp, len(records), batch.claims[tp].progress)
            for tp, records in batch.records.items()
        ]
        now = self.clock.now()
        async with unit_of_work(self.engine) as work:
            await self.ledger.advance(work, moves)
            await self.relay.forget(work)
            known = await self.customers.lock(work, {a.message.customer_id for a in assessed})
            owners = {o.id for k in known.values() if (o := _profile(k).owner) is not None}
            ground = await self.rules.ground(work, owners, now)
            page, states, why = _decide(assessed, known, ground)
            await self.customers.write(work, states)
            await self.assessments.add(work, assessed)
            changes, messages = await self.book.write(work, page, now)
            pending = await self.outbox.add(work, [*dead, *messages])
        self.told.set()
        for decision, times in why.items():
            metrics.MESSAGES.labels(decision).inc(times)
        metrics.DEAD_LETTERS.labels("risk").inc(len(dead))
        count(changes, self.clock.now())
        await self.relay.flush(pending)
        return moves


def _decide(
    assessed: Sequence[Assessed], known: dict[str, Known], ground: Ground
) -> tuple[Page, list[CustomerState], Counter[str]]:
    page = Page()
    states = {customer: found.state for customer, found in known.items()}
    changed: set[str] = set()
    why: Counter[str] = Counter()
    for each in assessed:
        message = each.message
        customer = message.customer_id
        decision = decide(states[customer], message, ground.policy)
        why[decision.why] += 1
        if decision.state is not states[customer]:
            states[customer] = decision.state
            changed.add(customer)
        for step in decision.steps:
            if isinstance(step, Closed):
                page.close(step, each.tp)
                continue
            profile = _profile(known[customer])
            page.trials.append((new_trial(step, message, profile, ground), each.tp))
            if isinstance(step, Raised):
                page.open(new_task(step, message, profile, ground), each.tp)
    return page, [states[customer] for customer in changed], why


def _profile(known: Known) -> Profile:
    return known.profile.profile if known.profile else NOBODY
