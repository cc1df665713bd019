"""One batch of scoring, with everything around it in memory."""

from datetime import timedelta

import pytest

from services.scoring.core.imports import BACKFILL, ENDED
from services.scoring.core.risk.publication import SAME_MAX
from services.scoring.handlers.micro_batch import LOOKED_UP_BATCHES
from services.scoring.ports import NOW, BatchEffects, EventRows
from shared.contracts.dead_letter import DeadLetter
from shared.kernel.errors import Transient
from shared.postgres.engine import UnitOfWork
from shared.postgres.ledger import Fenced
from shared.postgres.outbox import Message, Pending
from tests.fakes import activity
from tests.fakes.activity import day
from tests.fakes.model import tiny_model
from tests.fakes.scoring_rows import assessed
from tests.fakes.scoring_store import MemorySender, MemoryStore, Tables
from tests.fakes.scoring_worker import TOPIC, ScoringWorker


class Fixture:
    """A worker, its tables and its sender."""

    def __init__(self, *, replay: bool = False, sweep_customers_max: int = 1_000) -> None:
        self.store, self.sender = MemoryStore(), MemorySender()
        self.scoring = ScoringWorker(
            self.store, self.sender, replay=replay, sweep_customers_max=sweep_customers_max
        )
        self.scoring.clock.at = day(10)

    @property
    def tables(self) -> Tables:
        """The stored tables."""
        return self.store.tables

    def buys(self, customer: str, *days: float, partition: int = 0) -> None:
        """Append purchases."""
        for at in days:
            value = activity.event(f"{customer}-{at}", customer, day(at))
            self.scoring.log.append(partition, value)

    def offset(self, partition: int = 0) -> int | None:
        """The committed offset."""
        return self.tables.partition[TOPIC, partition].next_offset


def origin(message: Message) -> int:
    """Return the offset of the record that became this dead letter."""
    return DeadLetter.from_record(message.key, message.value, message.headers).origin.offset


async def test_an_empty_poll_opens_no_transaction(monkeypatch: pytest.MonkeyPatch) -> None:
    """No record came and no sweep is due: no transaction is opened."""
    f = Fixture()
    await f.scoring.claim(0)
    await f.scoring.turn()  # the first sweep

    def forbidden() -> None:
        raise AssertionError("opened")

    monkeypatch.setattr(f.store, "open", forbidden)
    assert await f.scoring.turn() == ()


async def test_a_turn_without_effect_moves_nothing() -> None:
    """A sweep without due customers leaves the ledger unchanged."""
    f = Fixture()
    await f.scoring.claim(0)
    before = f.tables.partition
    assert await f.scoring.turn() == ()
    assert f.tables.partition == before


async def test_first_come_counts_within_a_batch() -> None:
    """Three records have one id and two contents: the first is folded.

    The other content is a dead letter each time; the true duplicate has no effect.
    """
    f = Fixture()
    for at in (1, 2, 1, 2):
        f.scoring.log.append(0, activity.event("e", "ann", day(at)))
    await f.scoring.drain()
    assert f.tables.event == [("ann", "e")]
    assert [origin(m) for m in f.scoring.dead] == [1, 3]


async def test_what_is_stored_counts_before_what_came_first() -> None:
    """Other content comes before a duplicate of what is stored: only it is refused."""
    f = Fixture()
    f.scoring.log.append(0, activity.event("e", "ann", day(1)))
    await f.scoring.drain()
    for at in (2, 1):
        f.scoring.log.append(0, activity.event("e", "ann", day(at)))
    await f.scoring.drain()
    assert [origin(m) for m in f.scoring.dead] == [1]


@pytest.mark.parametrize("different", ["customer", "source"])
async def test_an_id_belongs_to_a_customer_and_a_source(different: str) -> None:
    """The same id from another source, or about another customer, is another event."""
    f = Fixture()
    f.scoring.log.append(0, activity.event("e", "ann", day(1)))
    if different == "customer":
        f.scoring.log.append(0, activity.event("e", "bob", day(2)))
    else:
        f.scoring.log.append(0, activity.event("e", "ann", day(2), source="another"))
    await f.scoring.drain()
    assert len(f.tables.event) == 2
    assert f.scoring.dead == []


class Counting(MemoryStore):
    """A store that counts the batches that query keys."""

    def __init__(self) -> None:
        super().__init__()
        self.looked_up = 0

    async def known(self, work: UnitOfWork, events: EventRows) -> dict[int, bytes]:
        """Count and query."""
        self.looked_up += 1
        return await super().known(work, events)


async def test_without_duplicates_keys_are_not_looked_up() -> None:
    """After some batches without a duplicate the check relies on the uniqueness of the keys.

    A duplicate then still has no effect, one with other content is refused, and keys are queried
    again.
    """
    store = Counting()
    scoring = ScoringWorker(store, MemorySender())
    names = [f"e{n}" for n in range(LOOKED_UP_BATCHES + 5)]
    for n, name in enumerate(names):
        scoring.log.append(0, activity.event(name, "ann", day(n)))
        await scoring.drain()
    assert store.looked_up == LOOKED_UP_BATCHES
    for name, at in (("e1", 1), ("e2", 7), ("new", 2)):
        scoring.log.append(0, activity.event(name, "ann", day(at)))
    await scoring.drain()
    assert store.looked_up == LOOKED_UP_BATCHES + 1
    assert [name for _, name in store.tables.event] == [*names, "new"]
    assert [origin(m) for m in scoring.dead] == [len(names) + 1]


async def test_a_failed_turn_is_done_again_whole() -> None:
    """The transaction is refused: nothing is stored or sent, and the same batch is repeated."""
    f = Fixture()
    f.buys("ann", 1, 2)
    await f.scoring.claim(0)
    await f.store.take_over((TOPIC, 0))
    with pytest.raises(Fenced):
        await f.scoring.turn()
    assert (f.tables.event, f.sender.sent) == ([], [])
    await f.scoring.claim(0)
    await f.scoring.turn()
    assert len(f.tables.event) == 2
    assert len(f.scoring.told) == 1


async def test_a_failed_send_leaves_the_rows() -> None:
    """Committed and not sent: Transient, and the outbox keeps the messages."""
    f = Fixture()
    f.buys("ann", 1)
    await f.scoring.claim(0)
    f.sender.fails = 1
    with pytest.raises(Transient):
        await f.scoring.turn()
    assert len(f.tables.event) == 1
    assert len(f.tables.outbox) == 1
    assert f.offset() == 1


async def test_a_worker_that_stood_still_sends_nothing_from_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The machine froze after the COMMIT for longer than the group waits.

    The successor has sent the rows and newer ones by now, so they must not be sent again after
    those.
    """
    f = Fixture()
    f.buys("ann", 1)
    await f.scoring.claim(0)
    write = f.store.write

    async def frozen(work: UnitOfWork, effects: BatchEffects) -> list[Pending]:
        f.scoring.clock.seconds += 60
        return await write(work, effects)

    monkeypatch.setattr(f.store, "write", frozen)
    with pytest.raises(Transient):
        await f.scoring.turn()
    assert f.sender.sent == []
    assert len(f.tables.outbox) == 1
    assert f.offset() == 1


async def test_acknowledged_rows_go_with_the_next_turn() -> None:
    """They are deleted not before: until the next commit they alone prove what was sent."""
    f = Fixture()
    f.buys("ann", 1)
    await f.scoring.drain()
    assert len(f.tables.outbox) == 1
    f.scoring.log.append(0, activity.interaction("i", "bob", day(2)))
    await f.scoring.drain()
    assert f.tables.outbox == {}


async def test_a_tick_ends_the_partitions_part_of_a_batch() -> None:
    """Records after the tick wait for the next batch; another partition goes on to its own tick."""
    f = Fixture(replay=True)
    f.buys("ann", 1)
    f.scoring.log.append(0, activity.tick(day(1.5)))
    f.buys("ann", 2)
    f.buys("bob", 1, 2, partition=1)
    await f.scoring.claim(0, 1)
    await f.scoring.turn()
    assert (f.offset(0), f.offset(1)) == (2, 2)
    assert [a.customer for a in assessed(f.scoring.done[-1])] == ["ann"]
    await f.scoring.turn()
    assert f.offset(0) == 3
    assert not len(f.scoring.done[-1].assessments)


async def test_a_held_tick_is_not_reached_yet() -> None:
    """More customers are due than one batch assesses.

    The offset stays before the tick and its time is not committed, so that the next process knows
    that the sweep is not done.
    """
    f = Fixture(replay=True, sweep_customers_max=2)
    for customer in ("a", "b", "c"):
        f.buys(customer, 1)
    await f.scoring.drain()
    f.scoring.log.append(0, activity.tick(day(2)))
    await f.scoring.turn()
    assert f.offset() == 3
    assert NOW not in f.tables.partition[TOPIC, 0].progress
    await f.scoring.turn()
    assert f.offset() == 4
    assert f.tables.partition[TOPIC, 0].progress[NOW] == day(2).timestamp()
    assert {c: a.revision for c, a in f.tables.assessment.items()} == {"a": 1, "b": 1, "c": 1}


async def test_exactly_as_many_as_a_turn_takes() -> None:
    """The bound is met and no customer is left.

    One more batch notices this and consumes the tick.
    """
    f = Fixture(replay=True, sweep_customers_max=2)
    for customer in ("a", "b"):
        f.buys(customer, 1)
    await f.scoring.drain()
    f.scoring.log.append(0, activity.tick(day(2)))
    await f.scoring.turn()
    assert f.offset() == 2
    await f.scoring.turn()
    assert f.offset() == 3
    assert {a.revision for a in f.tables.assessment.values()} == {1}


async def test_imports_are_remembered_with_the_offset() -> None:
    """The state has the import under way and the latest sixteen that have ended."""
    f = Fixture()
    for n in range(20):
        value = activity.event(f"e{n}", "ann", day(n), backfill=f"import-{n}")
        f.scoring.log.append(0, value)
        f.scoring.log.append(0, activity.ended(day(n)))
    f.scoring.log.append(0, activity.event("e", "ann", day(1), backfill="import-20"))
    await f.scoring.drain(lambda: 3)
    progress = f.tables.partition[TOPIC, 0].progress
    assert progress[BACKFILL] == "import-20"
    assert progress[ENDED] == [f"import-{n}" for n in range(4, 20)]


async def test_the_end_names_its_import() -> None:
    """Its marker overtook all events of the import in this partition.

    They are late, and the sweep goes on.
    """
    f = Fixture()
    marker = activity.ended(day(1)).replace(b'"receivedms"', b'"backfill":"import-1","receivedms"')
    f.scoring.log.append(0, marker)
    f.scoring.log.append(0, activity.event("e", "ann", day(1), backfill="import-1"))
    await f.scoring.drain()
    assert BACKFILL not in f.tables.partition[TOPIC, 0].progress


async def test_one_look_at_a_customer_however_many_events() -> None:
    """Ten events of one customer in a batch give one assessment that includes all of them."""
    f = Fixture()
    f.buys("ann", *range(10))
    await f.scoring.drain()
    [one] = assessed(f.scoring.done[0])
    assert one.revision == 1
    assert f.scoring.told[0].purchases == 10


async def test_a_look_that_finds_the_same_leaves_the_assessment() -> None:
    """Without an event and with the same number only the timer moves; the assessment is counted.

    An event, or a number that has moved, makes a new current assessment.
    """
    f = Fixture()
    f.buys("ann", *range(10))
    await f.scoring.drain()
    first = f.tables.assessment["ann"]
    revisions, looks = [first.revision], 0
    for _ in range(40):
        f.scoring.clock.at += timedelta(hours=12)
        await f.scoring.idle(5)
        done = f.scoring.done[-1]
        looks += len(done.assessed.probability)
        now = f.tables.assessment["ann"]
        if now.revision == revisions[-1]:
            assert not len(done.assessed.band) or f.tables.timer["ann"][1] > f.scoring.clock.at
            assert all(abs(done.assessed.probability - now.probability) < SAME_MAX)
        revisions.append(now.revision)
    assert 1 < len(set(revisions)) < looks
    assert sorted(revisions) == revisions
    last = f.tables.assessment["ann"]
    f.buys("ann", 29.5)
    await f.scoring.drain()
    assert f.tables.assessment["ann"].revision == last.revision + 1


async def test_the_sweep_does_not_shorten_its_interval() -> None:
    """Events come every moment, and due customers are still queried once a second."""
    f = Fixture()
    f.buys("ann", 1)
    await f.scoring.drain()
    f.scoring.clock.at += timedelta(days=100)
    f.buys("bob", 9)
    await f.scoring.drain()
    assert {a.customer for a in assessed(f.scoring.done[-1])} == {"bob"}
    f.scoring.clock.seconds += 1
    f.buys("eve", 9)
    await f.scoring.drain()
    assert {a.customer for a in assessed(f.scoring.done[-1])} == {"ann", "eve"}


async def test_a_customer_with_an_ended_contract_is_not_assessed() -> None:
    """Known churn is not assessed, however long the silence; a new contract is assessed again."""
    f = Fixture(replay=True)
    f.buys("ann", *range(0, 30, 3))
    f.scoring.log.append(0, activity.contract("k1", "ann", day(1), "activated"))
    f.scoring.log.append(0, activity.tick(day(30)))
    await f.scoring.drain()
    assert f.tables.assessment["ann"].revision == 1
    f.scoring.log.append(0, activity.contract("k2", "ann", day(31), "ended"))
    for at in range(32, 80, 4):
        f.scoring.log.append(0, activity.tick(day(at)))
    await f.scoring.drain()
    assert f.tables.assessment["ann"].revision == 1
    f.scoring.log.append(0, activity.contract("k3", "ann", day(80), "activated"))
    f.scoring.log.append(0, activity.tick(day(81)))
    await f.scoring.drain()
    assert f.tables.assessment["ann"].revision == 2
    assert f.tables.assessment["ann"].probability > 0.5


async def test_a_contractual_model_publishes_its_main_horizon_only() -> None:
    """A contract's end grows likelier with the horizon, silence less: no curve mixes them."""
    f = Fixture(replay=True)
    cases = ((30, "silence", [14, 28, 30, 60, 90]), (31, "contractual", [28]))
    for at, labels, days in cases:
        f.scoring.predictor = tiny_model(labels=labels)  # of both
        f.buys(labels, *range(0, 30, 3))
        f.scoring.log.append(0, activity.tick(day(at)))
        await f.scoring.drain()
        told = [one for one in f.scoring.told if one.customer_id == labels]
        assert [one.days for one in told[-1].horizons] == days
