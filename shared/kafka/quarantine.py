"""Sets aside a record that ends process after process; all other records go on.

For the first batches after a claim, which is where a restarted process comes back to, a note is
written before the work (`Unfinished`); later batches cost nothing. A batch on which two processes
in a row ended is processed record by record by the next one. A record is parked when three
processes in a row ended on it while they worked on nothing else. So neither a kill from outside nor
a bug triggered by another record of the batch costs a good record.
"""

import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Protocol
from uuid import uuid4

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from shared.contracts.dead_letter import DeadLetter
from shared.kafka.batch import Batch, ConsumedRecord
from shared.kafka.transaction import BatchTransactions
from shared.kernel.errors import Transient
from shared.postgres.engine import unit_of_work
from shared.postgres.ledger import Ledger, Move
from shared.postgres.ledger import TopicPartition as Tp
from shared.postgres.outbox import Message
from shared.postgres.unfinished import Begun

DEATHS_MAX: Final = 3
"""Processes in a row that may end on one record: a failing machine, or an operator who kills
processes, meets the same record twice by chance at most."""

BATCH_DEATHS_MAX: Final = 2
"""Processes in a row that may end on a batch as a whole. After one, probably a kill, all goes on as
fast as before."""

MARKED_BATCHES: Final = 20
"""Batches noted after each claim. A process that ended has left at most one batch undone, which is
among the first that its successor reads, however small the pieces in which they come."""

REASON: Final = (
    f"quarantined: {DEATHS_MAX} processes in a row ended while they worked on this record alone; "
    "replay it once the fault is mended"
)

Handle = Callable[[Batch], Awaitable[Sequence[Move]]]
"""Does everything for a batch in one transaction that includes `Ledger.advance(moves)`, and returns
these moves. Called with an empty batch when nothing arrived: timers may be due. It may consume
less than it was given: the rest comes again."""

Park = Callable[[Batch, ConsumedRecord], Awaitable[Sequence[Move]]]
"""Sets the only record of a batch aside and moves over it, in one transaction."""

log = structlog.get_logger(__name__)


class Marks(Protocol):
    """Stores notes on what was begun."""

    async def read(self, tps: Sequence[Tp]) -> dict[Tp, Begun]: ...
    async def begin(self, begun: Sequence[Begun]) -> None: ...
    async def alive(self, by: str) -> None: ...
    def done(self, tps: Sequence[Tp]) -> None: ...


@dataclass(slots=True)
class _Watched:
    """A partition under one claim."""

    epoch: int
    marks_left: int = MARKED_BATCHES
    isolated: range = range(0)
    """Offsets of records that are processed alone."""
    died: Begun | None = None
    """The single record that a former process ended on."""


@dataclass(slots=True)
class Quarantine:
    """The quarantine of one consumer loop: call it with a batch and its handler."""

    marks: Marks
    park: Park
    by: str = field(default_factory=lambda: uuid4().hex)
    """Identifies this process."""
    _watched: dict[Tp, _Watched] = field(default_factory=dict)
    _isolated_last: bool = False

    async def __call__(self, batch: Batch, handle: Handle) -> Sequence[Move]:
        """Process the batch or a part of it; returns the moves that were committed.

        Raises what the handler raises, and Transient.
        """
        await self._read_notes(batch)
        part = self._part(batch)
        record = _only(part)
        if record is not None and self._is_fatal(record):
            log.error("record quarantined", topic=record.topic, partition=record.partition,
                      offset=record.offset)  # fmt: skip
            moves = await self.park(part, record)
        else:
            await self._note(part, alone=record is not None)
            moves = await handle(part)
        self.marks.done([move.claim.tp for move in moves])
        return moves

    def watches(self, batch: Batch) -> bool:
        """Return whether the batch has to pass here: to be noted, or processed record by record."""
        return any(
            self._epoch(tp) != batch.claims[tp].epoch
            or self._watched[tp].marks_left > 0
            or records[0].offset < self._watched[tp].isolated.stop
            for tp, records in batch.records.items()
        )

    async def survived(self) -> None:
        """Delete this process's notes: the work failed, but no record ended the process."""
        # A note that stays counts as a crash, and a single crash parks nothing.
        with contextlib.suppress(Transient):
            await self.marks.alive(self.by)

    async def _read_notes(self, batch: Batch) -> None:
        """Read the notes that former processes left on partitions claimed since the last batch."""
        new = [tp for tp in batch.records if self._epoch(tp) != batch.claims[tp].epoch]
        if not new:
            return
        found = await self.marks.read(new)
        for tp in new:
            now, before, begun = (
                _Watched(batch.claims[tp].epoch),
                self._watched.get(tp),
                found.get(tp),
            )
            if before is not None:  # claimed again by this process: what it knows still holds
                now.isolated, now.died = before.isolated, before.died
            if begun is None or begun.by == self.by or begun.begin != batch.records[tp][0].offset:
                pass  # finished, or the offset was moved by an operator
            elif begun.alone:
                now.isolated, now.died = range(begun.begin, max(begun.end, begun.careful_to)), begun
            elif begun.times >= BATCH_DEATHS_MAX or not begun.by:
                now.isolated = range(begun.begin, begun.end)
                log.warning("a batch was not finished: its records one by one", tp=tp,
                            begin=begun.begin, end=begun.end)  # fmt: skip
            self._watched[tp] = now

    def _epoch(self, tp: Tp) -> int | None:
        watched = self._watched.get(tp)
        return None if watched is None else watched.epoch

    def _part(self, batch: Batch) -> Batch:
        """Return the part to process now: usually the whole batch.

        Where some records have to be processed singly, it is one of those, and in the next batch
        all others, so that other partitions are served.
        """
        isolated = [
            tp
            for tp, records in batch.records.items()
            if records[0].offset in self._watched[tp].isolated
        ]
        others = {tp: r for tp, r in batch.records.items() if tp not in isolated}
        if isolated and (not others or not self._isolated_last):
            self._isolated_last = True
            tp = min(isolated, key=lambda tp: (self._watched[tp].died is not None, tp))
            claims, one = {tp: batch.claims[tp]}, {tp: batch.records[tp][:1]}
            ends = {at: end for at, end in batch.ends.items() if at == tp}
            return Batch(claims, one, ends, alone=True)
        self._isolated_last = False
        return replace(batch, records=others) if isolated else batch

    def _is_fatal(self, record: ConsumedRecord) -> bool:
        died = self._watched[record.topic, record.partition].died
        return died is not None and died.begin == record.offset and died.times >= DEATHS_MAX

    async def _note(self, part: Batch, *, alone: bool) -> None:
        noted = []
        for tp, records in part.records.items():
            watched = self._watched[tp]
            if watched.marks_left <= 0 and not part.alone:
                continue
            watched.marks_left -= 1
            begin, end = records[0].offset, records[-1].offset + 1
            isolated_to = watched.isolated.stop if begin in watched.isolated else 0
            noted.append(Begun(*tp, begin, end, alone, isolated_to, self.by))
        if noted:
            await self.marks.begin(noted)


@dataclass(frozen=True, slots=True, kw_only=True)
class ParkAsDeadLetter:
    """Parks a record whole in the dead-letter topic."""

    transactions: BatchTransactions
    topic: str
    """The topic of dead letters."""
    stage: str
    observe: Callable[[str], None]
    """Called with the topic of each parked record."""

    def quarantine(self) -> "Quarantine":
        """Return a quarantine that parks its records this way."""
        return Quarantine(self.transactions.ledger.unfinished, self)

    async def __call__(self, batch: Batch, record: ConsumedRecord) -> Sequence[Move]:
        """Commit the move over the record with its dead letter; return the move."""
        tp = (record.topic, record.partition)
        letter = DeadLetter.of(record, self.stage, "value", REASON)
        message = Message(tp, self.topic, letter.key, letter.value, letter.to_headers())
        moves = [batch.move(tp, 1, batch.claims[tp].progress)]
        async with self.transactions.open(moves) as transaction:
            transaction.messages.append(message)
        self.observe(record.topic)
        await transaction.send()
        return moves


@dataclass(frozen=True, slots=True, kw_only=True)
class PassOver:
    """Moves over a record that is already a dead letter: it stays in its topic."""

    engine: AsyncEngine
    ledger: Ledger
    observe: Callable[[str], None]

    async def __call__(self, batch: Batch, record: ConsumedRecord) -> Sequence[Move]:
        """Commit and return the move over the record."""
        tp = (record.topic, record.partition)
        moves = [batch.move(tp, 1, batch.claims[tp].progress)]
        async with unit_of_work(self.engine) as work:
            await self.ledger.advance(work, moves)
        self.observe(record.topic)
        return moves


def _only(part: Batch) -> ConsumedRecord | None:
    """Returns the record of a part with exactly one; else None."""
    records = [record for found in part.records.values() for record in found[:2]]
    return records[0] if len(records) == 1 else None
