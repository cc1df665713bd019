"""One turn of scoring: events in, everything that follows from them in one transaction.

Deduplicate, load, fold, assess, write, fence, commit, then send. The silence sweep is the
same turn without events: customers whose timer is due join those who were touched. In a replay
a turn passes as many ticks as its batch has, and folds and assesses step by step in between.
"""

import asyncio
from collections.abc import Callable, Sequence

from services.scoring.handlers.assess import Assessor
from services.scoring.handlers.stand import Standing
from services.scoring.handlers.work import Turn
from services.scoring.ports import (
    NOW,
    Decode,
    Due,
    Effects,
    EventRows,
    PartitionTurn,
    Predictor,
    Recorded,
    Sender,
    Store,
)
from shared.kafka.batch import Batch
from shared.kernel.errors import Transient
from shared.postgres.engine import UnitOfWork
from shared.postgres.ledger import Move
from shared.postgres.outbox import Message
from shared.runtime.clock import Clock

TURN_S_MAX = 8.0
"""From reading to sending. A worker that stood still for longer (the group waits 10 s) may have a
successor who has sent what it left: from its memory that would come after newer messages, and
stay in the compacted topic. It claims anew instead, and sends what is still there."""


LOOKED_UP_TURNS = 16
"""Turns that look for each event's key among those stored: at first, when records are most likely
read again, and from each duplicate on. After so many without one (some seconds) the key's own
uniqueness must do, which costs nothing; a duplicate then costs its turn twice."""


class MicroBatch:
    """The handler of the activity topic."""

    def __init__(  # noqa: PLR0913 (wiring: each is one collaborator)
        self,
        *,
        decode: Decode,
        store: Store,
        sender: Sender,
        standing: Standing,
        assessor: Assessor,
        predictor: Callable[[], Predictor],
        clock: Clock,
        sweep_customers_max: int,
        sweep_interval_s: float,
        observe: Callable[[Effects, float], None],
    ) -> None:
        self._decode = decode
        self._store = store
        self._sender = sender
        self._standing = standing
        self._assessor = assessor
        self._predictor = predictor
        self._clock = clock
        self._sweep_customers_max = sweep_customers_max
        self._sweep_interval_s = sweep_interval_s
        self._observe = observe
        self._swept_at = -sweep_interval_s
        self._more = False
        self._look_up = LOOKED_UP_TURNS

    async def __call__(self, batch: Batch) -> Sequence[Move]:
        """Do the turn; returns the moves that were committed."""
        try:
            return await self._turn(batch)
        except Recorded:
            if self._look_up:
                raise
            self._look_up = LOOKED_UP_TURNS
            return await self._turn(batch)

    async def _turn(self, batch: Batch) -> Sequence[Move]:
        began = self._clock.monotonic()
        events, steps = self._decode(batch, self._clock.now())
        sweep = self._may_sweep(steps[0], began, idle=not batch, alone=batch.alone)
        if not batch and not sweep:
            return ()
        async with self._store.open() as work:
            due = await self._due(work, steps) if sweep else Due.nobody()
            if due.more and len(steps) > 1:
                # More than one turn can look at: tick by tick, then.
                events, steps, due = await self._first(work, events, steps)
            fresh, conflicts = await self._deduplicate(work, events)
            _settle_ticks(steps, more=due.more)
            job = Turn(fresh, steps, due)
            loaded = await self._store.load(work, job.customers, job.due_at)
            predictor = self._predictor()
            stand = await self._standing.load(work, job)
            recorded_at = self._clock.now()
            # The history does not wait for the arithmetic: PostgreSQL writes it meanwhile.
            recording = asyncio.create_task(self._store.record(work, fresh, recorded_at))
            try:
                effects = await asyncio.to_thread(self._assessor, job, loaded, predictor, stand)
            finally:
                await asyncio.wait({recording})
            await recording
            partitions = job.partitions
            effects.moves = [
                batch.move(t.tp, t.consumed, t.progress)
                for t in _last(steps)
                if t.consumed or t.tp[1] in partitions
            ]
            if not effects.moves:
                return ()
            effects.recorded_at = recorded_at
            effects.messages += [m for step in steps for t in step for m in t.dead]
            effects.messages += conflicts
            pending = await self._store.write(work, effects)
            await self._standing.write(work, stand.stood)
            await self._sender.forget(work)
        if self._clock.monotonic() - began > TURN_S_MAX:
            raise Transient("this turn took so long that somebody else may own its partitions")
        await self._sender.flush(pending)
        self._observe(effects, self._clock.monotonic() - began)
        return effects.moves

    def _may_sweep(
        self, turns: Sequence[PartitionTurn], monotonic: float, *, idle: bool, alone: bool
    ) -> bool:
        """At a tick, now and then, and at once if the last sweep left some and no event waits; not
        beside a record that is looked at alone."""
        if any(t.tick for t in turns):
            return True
        if alone:
            return False
        if monotonic - self._swept_at < self._sweep_interval_s and not (idle and self._more):
            return False
        self._swept_at = monotonic
        return any(t.sweeping and not t.tick for t in turns)

    async def _due(self, work: UnitOfWork, steps: Sequence[Sequence[PartitionTurn]]) -> Due:
        """Whom the last sweep of each partition finds due, and so all those before it."""
        nows = {t.tp[1]: t.now for step in steps for t in step if t.sweeping and t.now is not None}
        due = await self._store.due(work, nows, self._sweep_customers_max)
        self._more = due.more
        return due

    async def _first(
        self, work: UnitOfWork, events: EventRows, steps: Sequence[list[PartitionTurn]]
    ) -> tuple[EventRows, list[list[PartitionTurn]], Due]:
        """The turn without any step but the first."""
        events = events.select([row for row, step in enumerate(events.step) if step == 0])
        return events, [steps[0]], await self._due(work, steps[:1])

    async def _deduplicate(
        self, work: UnitOfWork, events: EventRows
    ) -> tuple[EventRows, list[Message]]:
        """Events whose (customer, source, id) has had no effect yet, and dead letters for
        those that reuse an id with other content."""
        first: dict[tuple[str, str, str], int] = {}
        keys = zip(events.customer, events.source, events.id, strict=True)
        same = [first.setdefault(key, i) for i, key in enumerate(keys)]
        kept = list(first.values())
        candidates = events if len(kept) == len(events) else events.select(kept)
        known: dict[int, bytes] = {}
        if self._look_up and len(candidates):
            known = await self._store.known(work, candidates)
            duplicates = known or len(kept) < len(events)
            self._look_up = LOOKED_UP_TURNS if duplicates else self._look_up - 1
        if not known and len(kept) == len(events):
            return events, []
        # What is stored under a key counts, else what came first.
        content = {kept[i]: stored for i, stored in known.items()}
        conflicts = [
            self._decode.same_id(events.record[i])
            for i, (j, found) in enumerate(zip(same, events.content_hash, strict=True))
            if found != content.get(j, events.content_hash[j])
        ]
        if not known:
            return candidates, conflicts
        return candidates.select([i for i in range(len(candidates)) if i not in known]), conflicts


def _last(steps: Sequence[Sequence[PartitionTurn]]) -> list[PartitionTurn]:
    """What the turn has done with each partition in the end."""
    return list({turn.tp: turn for step in steps for turn in step}.values())


def _settle_ticks(steps: Sequence[Sequence[PartitionTurn]], *, more: bool) -> None:
    """A tick is consumed, and its time reached, once everybody due has been looked at; while
    there are `more`, the next turn comes back to it."""
    for step in steps:
        for turn in step:
            if turn.tick and turn.now is not None:
                if more:
                    turn.consumed -= 1
                else:
                    turn.progress[NOW] = turn.now.timestamp()
