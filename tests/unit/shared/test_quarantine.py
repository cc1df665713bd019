"""Which record is set aside when processes die, and which are not; in memory."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.kafka.batch import Batch, ConsumedRecord
from shared.kafka.quarantine import BATCH_DEATHS_MAX, DEATHS_MAX, MARKED_BATCHES, Quarantine
from shared.kernel.errors import Transient
from shared.postgres.ledger import Claim, Move
from shared.postgres.ledger import TopicPartition as Tp
from shared.postgres.unfinished import Begun
from tests.unit.alerts.inbound.test_decoders import Fetched


class Death(Exception):  # noqa: N818
    """Stands for the end of the process in the middle of its work."""


@dataclass
class Rows:
    """`Unfinished` in memory, with the ledger's offsets: what a death leaves."""

    rows: dict[Tp, Begun] = field(default_factory=dict)
    offsets: dict[Tp, int] = field(default_factory=dict)
    epoch: int = 0
    written: int = 0

    async def read(self, tps: Sequence[Tp]) -> dict[Tp, Begun]:
        """Return the rows of these partitions."""
        return {tp: self.rows[tp] for tp in tps if tp in self.rows}

    async def begin(self, begun: Sequence[Begun]) -> None:
        """Begin as the statement does."""
        self.written += 1
        for new in begun:
            old = self.rows.get(new.tp)
            same = old is not None and (old.begin, old.alone) == (new.begin, new.alone)
            times = old.times + (old.by != new.by) if old is not None and same else 1
            self.rows[new.tp] = replace(new, times=times)

    async def alive(self, by: str) -> None:
        """Delete what the process noted."""
        for tp, row in list(self.rows.items()):
            if row.by == by:
                self.rest(tp, row.begin, row.end)

    def rest(self, tp: Tp, at: int, end: int) -> None:
        """Remove a row; keep its remaining records once no process works on it."""
        row = self.rows.pop(tp, None)
        if row is not None and row.careful_to > end:
            self.rows[tp] = replace(row, begin=at, end=row.careful_to, alone=False, times=0, by="")

    def done(self, tps: Sequence[Tp]) -> None:
        """Delete the rows with the move."""


@dataclass
class World:
    """Partitions of records, and processes that work on them one after another."""

    counts: dict[Tp, int]
    batch_max: int = 10
    store: Rows = field(default_factory=Rows)
    done: list[tuple[Tp, int]] = field(default_factory=list)
    parked: list[tuple[Tp, int]] = field(default_factory=list)
    deaths: int = 0

    def process(self) -> Quarantine:
        """Start a new process, which claims everything."""
        self.store.epoch += 1
        return Quarantine(self.store, self._park)

    def batch(self) -> Batch:
        """Return the next records of each partition."""
        claims, records = {}, {}
        for tp, count in self.counts.items():
            at = self.store.offsets.get(tp, 0)
            claims[tp] = Claim(*tp, self.store.epoch, at, None)
            found: list[ConsumedRecord] = [
                Fetched(b"", n, *tp) for n in range(at, min(count, at + self.batch_max))
            ]
            if found:
                records[tp] = found
        return Batch(claims, records, {})

    async def run(self, dies: Callable[[Batch], bool]) -> None:
        """Work until everything is done; when a process `dies` at its batch, another one starts."""
        process = self.process()
        while batch := self.batch():
            try:
                await process(batch, lambda part: self._handle(part, dies))
            except Death:
                self.deaths += 1
                process = self.process()
            except Transient:
                await process.survived()
                self.store.epoch += 1

    async def _handle(self, part: Batch, dies: Callable[[Batch], bool]) -> Sequence[Move]:
        if dies(part):
            raise Death
        self.done += [(tp, r.offset) for tp, found in part.records.items() for r in found]
        return self._moved(part)

    async def _park(self, part: Batch, record: ConsumedRecord) -> Sequence[Move]:
        self.parked.append(((record.topic, record.partition), record.offset))
        return self._moved(part)

    def _moved(self, part: Batch) -> list[Move]:
        moves = [part.move(tp, len(found), {}) for tp, found in part.records.items()]
        for move in moves:
            at = self.store.offsets[move.claim.tp] = move.next_offset or 0
            self.store.rest(move.claim.tp, at, at)
        return moves


A, B = ("a", 0), ("b", 0)


def holds(*bad: tuple[Tp, int]) -> Callable[[Batch], bool]:
    """Return whether a batch holds one of these records."""
    return lambda part: any((tp, r.offset) in bad for tp, rs in part.records.items() for r in rs)


async def test_a_record_alone_is_passed_over_by_the_fourth_process() -> None:
    world = World({A: 1})
    await world.run(holds((A, 0)))
    assert world.deaths == DEATHS_MAX
    assert (world.parked, world.done) == ([(A, 0)], [])


async def test_of_a_batch_only_the_bad_record_is_set_aside() -> None:
    world = World({A: 25, B: 25})
    await world.run(holds((A, 7)))
    assert world.deaths == BATCH_DEATHS_MAX + DEATHS_MAX  # in the batch, then alone
    assert world.parked == [(A, 7)]
    assert sorted(world.done) == sorted({(tp, n) for tp in (A, B) for n in range(25)} - {(A, 7)})


@given(
    st.sets(st.tuples(st.sampled_from([A, B]), st.integers(0, 59)), max_size=4),
    st.integers(1, 20),
)
async def test_every_good_record_is_worked_on_once(bad: set[tuple[Tp, int]], batch: int) -> None:
    world = World({A: 60, B: 60}, batch_max=batch)
    await world.run(holds(*bad))
    assert set(world.parked) == bad
    assert len(world.parked) == len(bad)
    assert sorted(world.done) == sorted({(t, n) for t in (A, B) for n in range(60)} - bad)
    assert world.deaths <= (1 + BATCH_DEATHS_MAX + DEATHS_MAX) * len(bad)


@given(st.lists(st.integers(0, 300), max_size=12))
async def test_kills_from_outside_cost_no_record(kills: list[int]) -> None:
    """The kills do not hit the same record three times in a row, unlike those of a bug."""
    at = {kill for n, kill in enumerate(sorted(kills)) if n < 2 or sorted(kills)[n - 2] != kill}
    turn = iter(range(10_000))
    world = World({A: 60, B: 60})
    last: list[object] = []

    def killed(part: Batch) -> bool:
        mine = sorted((tp, rs[0].offset) for tp, rs in part.records.items())
        again = last[-2:] == [mine, mine]
        dead = next(turn) in at and not again
        if dead:
            last.append(mine)
        return dead

    await world.run(killed)
    assert world.parked == []
    assert sorted(world.done) == sorted((t, n) for t in (A, B) for n in range(60))


async def test_trouble_that_passes_is_no_death() -> None:
    """A process that is stopped in good order meanwhile did not die either."""
    world = World({A: 1})

    async def away(_: Batch) -> Sequence[Move]:
        raise Transient("PostgreSQL is away")

    process = world.process()
    for turn in range(20):
        with pytest.raises(Transient):
            await process(world.batch(), away)
        await process.survived()
        process = world.process() if turn % 3 == 0 else process
    await world.run(lambda _: False)
    assert (world.parked, world.done) == ([], [(A, 0)])


async def test_a_process_that_lives_notes_nothing_in_the_long_run() -> None:
    world = World({A: 1_000})
    await world.run(lambda _: False)
    assert world.store.written == MARKED_BATCHES
    assert len(world.done) == 1_000
