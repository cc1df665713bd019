"""Handles activity: purchases end tasks, profiles give a customer's owner, language and consent.

Feedback is stored for the people who read it, and unsubscriptions for messages to the customer.
The profile of a customer with several ids is made anew whenever one of them has a new one.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from msgspec.structs import replace

from services.alerts import metrics
from services.alerts.core.consent import not_profiled_since
from services.alerts.core.consent_history import Statement, stated
from services.alerts.core.policy import end_objectless, purchased
from services.alerts.handlers.erase_customers import erase_customers
from services.alerts.handlers.heed_wishes import heed_wishes
from services.alerts.handlers.record_task_changes import BatchDecisions, RecordTaskChanges, count
from services.alerts.ports import TICK, ActivitySeen, KnownCustomer, ProfileSeen
from services.alerts.store import consents as consent_store
from services.alerts.store import customers as customer_store
from services.alerts.store import feedback as feedback_store
from services.alerts.store import merges as merge_store
from services.alerts.store import trials as trial_store
from services.alerts.store.of_every_service import ERASURES, OUTSIDE_TOPICS
from shared.contracts.events import Profile
from shared.kafka.batch import Batch
from shared.kafka.transaction import BatchTransactions
from shared.kernel.errors import Transient
from shared.postgres.engine import UnitOfWork
from shared.postgres.ledger import Move
from shared.runtime.clock import Clock

Decode = Callable[[Batch], ActivitySeen]


@dataclass(frozen=True, slots=True, kw_only=True)
class HandleActivity:
    """Handles batches of `ebbwatch.activity`."""

    transactions: BatchTransactions
    decode: Decode
    recorder: RecordTaskChanges
    clock: Clock
    deliveries_queued: asyncio.Event
    """Set once deliveries are committed: wakes the delivery sender of this process."""
    live: bool = True
    """False in a replay, where an event's time is long past."""

    async def __call__(self, batch: Batch) -> Sequence[Move]:
        """Process a batch; return the offsets that were committed with the effects."""
        if not batch:
            return []
        seen = self.decode(batch)
        moves = _moves(batch, seen)
        now = self.clock.now()
        async with self.transactions.open(moves) as transaction:
            work = transaction.work
            ended = await erase_customers(work, self.recorder, seen.erasures, now)
            seen.drop_older(await ERASURES.of_older(work, seen.times()))
            known = await self._known(work, seen)
            await trial_store.note_purchases(work, seen.money)
            profiles = _newer(seen, known)
            await consent_store.note(work, seen.subscriptions)
            await consent_store.keep(work, _history(seen, known), now)
            made = await self._write_profiles(work, profiles, known)
            wished = {
                known[each.customer_id].part_of or each.customer_id for each in seen.subscriptions
            }
            found = await consent_store.subscriptions(work, list(wished))
            refused = {one: not_profiled_since(found.get(one, ())) for one in wished}
            decisions = _take_in(seen, known, made, refused)
            await consent_store.state(work, _of_consent(profiles, known))
            await feedback_store.add(work, seen.feedback)
            changes, messages = await self.recorder.write(work, decisions, now)
            changes = [*ended, *changes]
            concerned = wished | made.keys()
            heeded = concerned and await heed_wishes(
                work, self.recorder, concerned, seen.newest(), now
            )
            transaction.messages += [*seen.dead, *messages]
        if changes or heeded:
            self.deliveries_queued.set()
        if self.live:
            now_s = self.clock.now().timestamp()
            ages = [now_s - at.timestamp() for _, _, at in seen.purchases]
            metrics.SERVICE.event_latency.observe(ages)
        metrics.ACTIVITY.labels("purchase").inc(len(seen.purchases))
        metrics.ACTIVITY.labels("profile").inc(len(seen.profiles))
        metrics.ACTIVITY.labels("feedback").inc(len(seen.feedback))
        metrics.ACTIVITY.labels("subscription").inc(len(seen.subscriptions))
        metrics.DEAD_LETTERS.labels("activity").inc(len(seen.dead))
        count(changes, self.clock.now())
        await transaction.send()
        return moves

    async def _known(self, work: UnitOfWork, seen: ActivitySeen) -> dict[str, KnownCustomer]:
        """Lock and return the customers for which more than the newest purchase may change.

        The time of the newest purchase is stored for all customers with one.
        """
        bought: dict[str, datetime] = {}
        for _, customer, at in seen.purchases:
            bought[customer] = max(at, bought.get(customer, at))
        said = seen.profiles.keys() | {each.customer_id for each in seen.subscriptions}
        if said:
            # Lock all of them in one order: two rounds of locks could deadlock with a batch of
            # assessments.
            primary = await merge_store.primaries(work, said)
            ids = {*bought, *said, *primary.values()}
            known = await customer_store.lock(work, ids)
            if any(found.part_of not in (None, *ids) for found in known.values()):
                raise Transient("a customer has become part of another meanwhile")
            if bought:
                await customer_store.note_purchases(work, bought)
            return known
        at_risk = await customer_store.note_purchases(work, bought) if bought else set()
        return await customer_store.lock(work, at_risk) if at_risk else {}

    async def _write_profiles(
        self,
        work: UnitOfWork,
        profiles: dict[str, ProfileSeen],
        known: dict[str, KnownCustomer],
    ) -> dict[str, ProfileSeen]:
        """Store profiles by the id that they came with; return those of customers that follow."""
        own = {c: seen for c, seen in profiles.items() if known[c].grouped}
        alone = {c: seen for c, seen in profiles.items() if not known[c].grouped}
        await customer_store.write_profiles(work, alone)
        await customer_store.write_own(work, own)
        several = {known[c].part_of or c for c in profiles if known[c].part_of or c in own}
        made = await merge_store.remade(work, several)
        await customer_store.write_profiles(work, made)
        return {c: seen for c, seen in alone.items() if known[c].part_of is None} | made


def _moves(batch: Batch, seen: ActivitySeen) -> list[Move]:
    moves = []
    for tp, records in batch.records.items():
        progress: dict[str, object] = dict(batch.claims[tp].progress)
        if tp in seen.ticks:
            progress[TICK] = seen.ticks[tp].timestamp()
        moves.append(batch.move(tp, len(records), progress))
    return moves


def _of_consent(
    profiles: dict[str, ProfileSeen], known: dict[str, KnownCustomer]
) -> dict[str, ProfileSeen]:
    """Return the profiles that state another consent than the one before."""
    return {
        customer: seen
        for customer, seen in profiles.items()
        if seen.renewed or seen.profile.consent != _consent(known[customer].own)
    }


def _consent(seen: ProfileSeen | None) -> dict[str, bool]:
    return {} if seen is None else seen.profile.consent


def _newer(seen: ActivitySeen, known: dict[str, KnownCustomer]) -> dict[str, ProfileSeen]:
    """Return the profiles that are newer than the one stored of their id."""
    return {
        customer: found
        for customer, (_, found) in seen.profiles.items()
        if found.replaces(known[customer].own)
    }


def _history(seen: ActivitySeen, known: dict[str, KnownCustomer]) -> list[Statement]:
    """Return the wishes of the batch that differ from the known ones, in the log's order."""
    made = [each.stated() for each in seen.subscriptions]
    newest = {customer: found.own for customer, found in known.items()}
    for customer, found in seen.all_profiles:
        before = newest[customer]
        late = not found.replaces(before)
        if not late:
            newest[customer] = found
        earlier = Profile() if before is None else before.profile
        made += [
            Statement(customer, found.at, found.source, found.event_id, about, said, late)
            for about, said in stated(earlier, found.profile)
            if not (late and said == "no_statement")
        ]
    return made


def _take_in(
    seen: ActivitySeen,
    known: dict[str, KnownCustomer],
    profiles: dict[str, ProfileSeen],
    refused: Mapping[str, datetime | None],
) -> BatchDecisions:
    """Return what follows for tasks; `profiles`: of customers, as they are from now on."""
    decisions = BatchDecisions()
    states = {customer: found.state for customer, found in known.items()}
    for customer, since in refused.items():
        states[customer] = replace(states[customer], not_profiled_at=since)
    for tp, customer, at in seen.purchases:
        if customer not in states:
            continue  # no open task, and the time is stored already
        states[customer], ended = purchased(states[customer], at)
        for closed in ended:
            decisions.close(closed, tp)
    tps = {known[c].part_of or c: tp for c, (tp, _) in seen.profiles.items()}
    for customer, found in profiles.items():
        since = found.at if found.profile.do_not_contact else None
        states[customer], ended = end_objectless(replace(states[customer], do_not_contact_at=since))
        for closed in ended:
            decisions.close(closed, tps[customer])
    for each in seen.subscriptions:
        one = known[each.customer_id].part_of or each.customer_id
        states[one], ended = end_objectless(states[one])
        for closed in ended:
            decisions.close(closed, each.tp or OUTSIDE_TOPICS)
    return decisions
