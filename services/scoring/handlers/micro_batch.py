"""Processes one batch: events in, everything that follows from them in one transaction.

In this order: leave out events of erased customers, forward those of ids that are part of another
customer, find due customers, deduplicate, load the states, fold and assess, copy to staging tables,
move the offsets behind the fence, merge, store the messages in the outbox, commit, send. The
silence sweep is part of the same batch: customers with a due timer join those that events touched,
and a batch may consist of due customers only. In a replay a batch ends at a tick, and the loop runs
one after the other (decision 25).
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime

import structlog

from services.scoring import metrics
from services.scoring.handlers.assess_customers import Assessor
from services.scoring.handlers.batch_customers import BatchCustomers, LeftOut
from services.scoring.handlers.classify_customers import ClassificationTables
from services.scoring.handlers.link_customers import bounded
from services.scoring.handlers.member_states import fold_own_states
from services.scoring.handlers.route_events import route
from services.scoring.handlers.silence_sweep import (
    ALL_DUE,
    KIND,
    NONE_DUE,
    DueCustomers,
    SilenceSweep,
)
from services.scoring.ports import (
    NOW,
    AlreadyStored,
    BatchEffects,
    Decode,
    Due,
    EventRows,
    PartitionBatch,
    Predictor,
    Store,
)
from shared.kafka.batch import Batch
from shared.kafka.transaction import OutboxRelay
from shared.kernel.errors import Transient
from shared.postgres.engine import UnitOfWork
from shared.postgres.ledger import Move
from shared.postgres.outbox import Message
from shared.runtime.clock import Clock
from shared.runtime.isolation import PASSING, ItemIsolation, where

log = structlog.get_logger(__name__)

BATCH_S_MAX = 8.0
"""Longest time of a batch from reading to sending, in seconds.

A worker that was suspended for longer (the group waits 10 s) may have a successor that has already
sent its pending messages. Sent again from memory they would follow newer messages and stay in the
compacted topic. Instead the worker claims its partitions again, and sends what the outbox still
holds."""

Link = Callable[[Batch, EventRows, set[str]], Awaitable[None]]
"""Decides on the statements about ids among events; adds the customers that it changes to a set."""

LOOKED_UP_BATCHES = 16
"""Batches that query the stored key of each event, after the start and after each duplicate.

Records are most likely read again after the start. After this many batches without a duplicate
(some seconds) only the key's unique constraint guards, which costs nothing; a duplicate then makes
its batch run twice."""


WithoutErased = Callable[[UnitOfWork, EventRows], Awaitable[EventRows]]
"""Returns the events without those from before their customer's erasure."""

LeaveOut = Callable[[UnitOfWork, BatchCustomers], Awaitable[LeftOut]]
"""Returns the customers who do not want to be assessed."""


class MicroBatch:
    """Handler of the activity topic.

    It does not use `BatchTransactions`, which move the offsets first: its COPY must come before the
    fence, so that a worker that stops meanwhile holds no lock."""

    def __init__(  # noqa: PLR0913 (wiring: each is one collaborator)
        self,
        *,
        decode: Decode,
        store: Store,
        sender: OutboxRelay,
        classifications: ClassificationTables,
        assessor: Assessor,
        predictor: Callable[[], Predictor],
        clock: Clock,
        sweep_customers_max: int,
        sweep_interval_s: float,
        observe: Callable[[BatchEffects, float], None],
        isolation: ItemIsolation,
        blameless: Callable[[], Awaitable[None]],
        link: Link,
        without_erased: WithoutErased,
        leave_out: LeaveOut,
    ) -> None:
        """`link` decides on statements about ids (`handlers.link_customers`).

        `blameless` declares that the work that follows does not concern the batch's records.
        """
        self._decode = decode
        self._store = store
        self._sender = sender
        self._classifications = classifications
        self._assessor = assessor
        self._predictor = predictor
        self._clock = clock
        self._sweep = SilenceSweep(store, isolation, sweep_customers_max)
        self._isolation, self._blameless, self._link = isolation, blameless, link
        self._sweep_interval_s = sweep_interval_s
        self._observe = observe
        self._without_erased, self._leave_out = without_erased, leave_out
        self._swept_at = -sweep_interval_s
        self._alone_last = False
        self._look_up = LOOKED_UP_BATCHES
        self.looked_s = clock.monotonic()
        """Monotonic time at which due customers were last assessed, or none was found."""

    async def __call__(self, batch: Batch) -> Sequence[Move]:
        """Processes the batch and returns the committed moves.

        A fault of the sweep is attributed to the customer that causes it; a fault of a record ends
        the process."""
        await self._isolation.read()
        if self._sweep.waiting and not self._alone_last:
            self._alone_last = True
            if (moves := await self._sweep_one(batch)) is not None:
                return moves
        self._alone_last = False
        try:
            return await self._process(batch, ALL_DUE)
        except PASSING:
            raise
        except Exception as error:
            if not (due := self._sweep.last):
                raise
            log.warning("a batch failed: without its sweep", why=where(error), due=len(due))
            moves = await self._process(batch, NONE_DUE)
            self._sweep.suspect(due)
            return moves

    async def _sweep_one(self, batch: Batch) -> Sequence[Move] | None:
        """Sweeps one waiting customer alone; returns None where no waiting customer is due."""
        _, parts = self._without_events(batch)
        async with self._store.open() as work:
            due = await self._sweep.due(work, parts, DueCustomers(only=self._sweep.waiting))
        if not len(due):
            self._sweep.swept(None)
            return None
        done: list[Move] = []

        async def process(customers: Sequence[str]) -> None:
            done.extend(await self._process(batch, DueCustomers(only=customers)))

        await self._blameless()
        (customer,) = due.customers
        await self._isolation.one(KIND, customer, process)
        self._sweep.swept(customer)
        return done

    async def _process(self, batch: Batch, chosen: DueCustomers) -> Sequence[Move]:
        try:
            return await self._attempt(batch, chosen)
        except AlreadyStored:
            if self._look_up:
                raise
            self._look_up = LOOKED_UP_BATCHES
            return await self._attempt(batch, chosen)

    def _without_events(self, batch: Batch) -> tuple[EventRows, list[PartitionBatch]]:
        """Returns a batch that consumes no events.

        Its time is that of the next tick, else the time that the partition has reached."""
        wall, firsts = self._clock.now(), {tp: found[:1] for tp, found in batch.records.items()}
        read = self._decode(Batch(batch.claims, firsts, batch.ends), wall)[1]
        ticks = {part.tp: firsts[part.tp] for part in read if part.tick}
        events, parts = self._decode(Batch(batch.claims, ticks, batch.ends), wall)
        for part in parts:
            reached = part.progress.get(NOW)
            if part.now is None and isinstance(reached, float):
                part.now = datetime.fromtimestamp(reached, UTC)
        return events, parts

    async def _attempt(self, batch: Batch, chosen: DueCustomers) -> Sequence[Move]:
        began, stage = self._clock.monotonic(), metrics.SERVICE.timed()
        self._sweep.last = ()
        if chosen.only:
            (events, parts), sweep = self._without_events(batch), True
        else:
            events, parts = await self._linked(batch)
            sweep = self._may_sweep(parts, began, idle=not batch, alone=batch.alone)
        if not batch and not sweep:
            return ()
        stage("decode")
        async with AsyncExitStack() as noted, self._store.open() as work:
            events = await self._without_erased(work, events)
            events, forwarded = await route(work, self._store, events)
            due = await self._sweep.due(work, parts, chosen) if sweep else Due.none()
            if len(due) and not chosen.only:
                await noted.enter_async_context(self._isolation.begun(KIND, due.customers))
            fresh, conflicts, repeated = await self._deduplicate(work, events)
            _consume_ticks(parts, more=due.more)
            customers = BatchCustomers(fresh, parts, due)
            withdrawn = await self._leave_some_out(work, customers)
            loaded = await self._store.load(work, customers.ids, customers.due_at)
            predictor = self._predictor()
            classification = await self._classifications.load(work, customers)
            stage("load")
            recorded_at = self._clock.now()
            assessing = asyncio.to_thread(
                self._assessor, customers, loaded, predictor, classification
            )
            effects = await self._recorded(work, fresh, recorded_at, assessing)
            stage("assess")
            await fold_own_states(work, self._store, customers, loaded, effects, repeated)
            effects.moves = _moves(batch, parts, customers)
            if not effects.moves:
                self._note_look(began, sweep=sweep)
                return ()
            dead = (message for part in parts for message in part.dead)
            effects.messages += [*dead, *conflicts, *forwarded, *withdrawn]
            pending = await self._store.write(work, effects)
            await self._classifications.write(work, classification)
            await self._sender.forget(work)
            stage("write")
        stage("commit")
        self._note_look(began, sweep=sweep)
        if self._clock.monotonic() - began > BATCH_S_MAX:
            raise Transient("this batch took so long that another process may own its partitions")
        await self._sender.flush(pending)
        stage("send")
        self._observe(effects, self._clock.monotonic() - began)
        return effects.moves

    async def _recorded(
        self, work: UnitOfWork, fresh: EventRows, at: datetime, assessing: Awaitable[BatchEffects]
    ) -> BatchEffects:
        """Writes the history in PostgreSQL while Python does the arithmetic; returns its result."""
        recording = asyncio.create_task(self._store.add_history(work, fresh, at))
        try:
            effects = await assessing
        finally:
            await asyncio.wait({recording})
        await recording
        effects.recorded_at = at
        return effects

    def _note_look(self, began: float, *, sweep: bool) -> None:
        if sweep:
            self.looked_s = began

    async def _leave_some_out(
        self, work: UnitOfWork, customers: BatchCustomers
    ) -> Sequence[Message]:
        """Marks the customers who do not want to be assessed; returns what to publish of them."""
        left_out = await self._leave_out(work, customers)
        customers.leave_out(left_out.customers)
        if left_out.fresh:
            self._store.drop(left_out.fresh)
        return left_out.messages

    async def _linked(self, batch: Batch) -> tuple[EventRows, list[PartitionBatch]]:
        """Decodes a batch, up to a bounded number of statements about ids, and decides on them."""
        events, parts = self._decode(batch, self._clock.now())
        if any(events.identity):
            if (fewer := bounded(batch, events)) is not None:
                batch = fewer
                events, parts = self._decode(batch, self._clock.now())
            changed: set[str] = set()
            try:
                await self._link(batch, events, changed)
            finally:
                self._store.drop(changed)
        return events, parts

    def _may_sweep(
        self, parts: Sequence[PartitionBatch], monotonic: float, *, idle: bool, alone: bool
    ) -> bool:
        """Returns whether this batch sweeps: at a tick, and otherwise once per interval.

        Without waiting events it sweeps at once if the last sweep left some customers. It never
        sweeps beside a record that is processed alone."""
        if any(t.tick for t in parts):
            return True
        if alone:
            return False
        if monotonic - self._swept_at < self._sweep_interval_s and not (idle and self._sweep.more):
            return False
        self._swept_at = monotonic
        return any(t.sweeping and not t.tick for t in parts)

    async def _deduplicate(
        self, work: UnitOfWork, events: EventRows
    ) -> tuple[EventRows, list[Message], EventRows]:
        """Returns the events that had no effect yet, by (customer, source, id), and dead letters.

        Events that reuse an id with other content become dead letters. Last the events that had,
        with another id of the customer: they count for the id that they came with."""
        first: dict[tuple[str, str, str], int] = {}
        keys = zip(events.customer, events.source, events.id, strict=True)
        same = [first.setdefault(key, i) for i, key in enumerate(keys)]
        kept = list(first.values())
        candidates = events if len(kept) == len(events) else events.select(kept)
        known: dict[int, bytes] = {}
        if self._look_up and len(candidates):
            known = await self._store.known(work, candidates)
            duplicates = known or len(kept) < len(events)
            self._look_up = LOOKED_UP_BATCHES if duplicates else self._look_up - 1
        if not known and len(kept) == len(events):
            return events, [], EventRows()
        # The stored content of a key is the right one; without it, the first in the batch.
        content = {kept[i]: stored for i, stored in known.items()}
        doubtful = {
            i: j
            for i, (j, found) in enumerate(zip(same, events.content_hash, strict=True))
            if found != content.get(j, events.content_hash[j])
        }
        repeats, other = await self._repeats(work, events, doubtful) if doubtful else ([], [])
        conflicts = [self._decode.same_id(events.record[i]) for i in other]
        repeated = events.select(repeats)
        if not known:
            return candidates, conflicts, repeated
        fresh = [i for i in range(len(candidates)) if i not in known]
        return candidates.select(fresh), conflicts, repeated

    async def _repeats(
        self, work: UnitOfWork, events: EventRows, doubtful: dict[int, int]
    ) -> tuple[list[int], list[int]]:
        """Divides events with known ids and other content into repeats and conflicts.

        The content names the id that it came with: of a customer with several, it is compared with
        what that id has sent. A repeat is the first that it sends, after another id. `doubtful`:
        index of an event -> index of the first with its key in the batch."""
        own = await self._store.own_keys(work, events.select(list(doubtful)))
        first: dict[tuple[str, str, str], int] = {}
        conflicts = []
        for n, (i, j) in enumerate(doubtful.items()):
            sent = own.get(n)
            if i != j and events.original_customer[i] == events.original_customer[j]:
                sent = events.content_hash[j]
            elif sent is None and n in own:
                key = events.original_customer[i], events.source[i], events.id[i]
                sent = events.content_hash[first.setdefault(key, i)]
            if sent != events.content_hash[i]:
                conflicts.append(i)
        return list(first.values()), conflicts


def _consume_ticks(parts: Sequence[PartitionBatch], *, more: bool) -> None:
    """Marks a tick as consumed, and its time as reached, once all due customers are assessed.

    While there are `more`, the next batch returns to the tick."""
    for part in parts:
        if part.tick and part.now is not None:
            if more:
                part.consumed -= 1
            else:
                part.progress[NOW] = part.now.timestamp()


def _moves(batch: Batch, parts: Sequence[PartitionBatch], customers: BatchCustomers) -> list[Move]:
    """Returns how far the batch gets: partitions with records, and homes of its customers."""
    concerned = (each for each in parts if each.consumed or each.tp[1] in customers.homes)
    return [batch.move(each.tp, each.consumed, each.progress) for each in concerned]
