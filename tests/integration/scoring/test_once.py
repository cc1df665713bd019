"""An event changes a customer once, however often and in whatever order it comes.

Invariants 1 to 3.
"""

import random
from typing import Any

import msgspec
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from shared.contracts.dead_letter import DeadLetter, Origin
from shared.contracts.events import KEY_BYTES_MAX, Profile
from shared.kernel.errors import Transient
from shared.postgres.outbox import Message
from tests.fakes import activity
from tests.fakes.activity import SOURCE, day
from tests.fakes.generated_history import assert_stored, history, states
from tests.fakes.scoring_store import MemorySender, MemoryStore
from tests.fakes.scoring_worker import DEAD, RISK, TOPIC, ScoringWorker
from tests.integration.scoring.postgres import PostgresStore, Relayed, counts, table

pytestmark = pytest.mark.stack

EFFECTS = (
    "event_key",
    "event",
    "customer_state",
    "timer",
    "assessment_history",
    "profile",
    "outbox",
)
"""Every table that an event changes."""


async def effects(engine: AsyncEngine) -> dict[str, list[dict[str, Any]]]:
    """Return everything that events have changed."""
    return {name: await table(engine, name) for name in EFFECTS}


async def stored(engine: AsyncEngine) -> dict[str, bytes]:
    """Return each customer's state."""
    return {r["customer_id"]: r["state"] for r in await table(engine, "customer_state")}


def letter(message: Message) -> DeadLetter:
    """Decode a message to the dead-letter topic."""
    return DeadLetter.from_record(message.key, message.value, message.headers)


async def test_duplicates_in_one_batch(engine: AsyncEngine, store: PostgresStore) -> None:
    """Each record comes three times in one batch: the states are to the byte those of one copy."""
    once = ScoringWorker(MemoryStore(), MemorySender())
    thrice = ScoringWorker(store, Relayed(engine))
    for n, happening in enumerate(history(30, 20, seed=1)):
        once.log.append(n % 2, happening.value())
        for _ in range(3):
            thrice.log.append(n % 2, happening.value())
    await once.drain()
    await thrice.drain()
    assert isinstance(once.store, MemoryStore)
    assert await stored(engine) == {c: s for c, (_, s) in once.store.tables.state.items()}
    assert thrice.told == once.told
    assert thrice.dead == []
    rows = await counts(engine)
    assert rows["event"] == rows["event_key"] == len(history(30, 20, seed=1))


@pytest.mark.parametrize("replay", [False, True])
async def test_duplicates_across_batches(
    engine: AsyncEngine, store: PostgresStore, *, replay: bool
) -> None:
    """Every record comes again, shuffled and alone: only the offsets change."""
    scoring = ScoringWorker(store, Relayed(engine), replay=replay)
    values = [h.value() for h in history(20, 20, seed=2)]
    for value in values:
        scoring.log.append(0, value)
    await scoring.drain(lambda: 50)
    before = await effects(engine)
    random.Random(2).shuffle(values)  # noqa: S311 (repeatable on purpose)
    for value in values:
        scoring.log.append(0, value)
    await scoring.drain(lambda: 37)
    after = await effects(engine)
    del before["outbox"], after["outbox"]  # what was sent is deleted by the next batch
    assert after == before
    assert (await table(engine, "partition"))[0]["next_offset"] == 2 * len(values)


@pytest.mark.parametrize("batch", [1, 2, 3, 100])
async def test_an_id_with_other_content(
    engine: AsyncEngine, store: PostgresStore, batch: int
) -> None:
    """The first content counts; each later one with other content is a dead letter.

    It has field, original bytes and origin. True duplicates of the first cause none, however the
    records fall into batches (R20, invariant 7).
    """
    scoring = ScoringWorker(store, Relayed(engine))
    good = activity.event("e1", "ann", day(0))
    other = activity.event("e1", "ann", day(1))
    third = activity.event("e1", "ann", day(2))
    fine = activity.event("e2", "ann", day(1))
    headers = (("traceparent", b"00-1"), ("x", b"\xff"))
    for value in (good, other, good, third, fine, good, other):
        scoring.log.append(4, value, key=b"ann", headers=headers)
    await scoring.drain(lambda: batch)

    letters = {letter(m).origin.offset: letter(m) for m in scoring.dead}
    # The last one repeats the second: reported again or not, it is not lost.
    assert set(letters) - {6} == {1, 3}
    for offset, value in ((1, other), (3, third)):
        found = letters[offset]
        assert found.origin == Origin(TOPIC, 4, offset)
        assert (found.key, found.value) == (b"ann", value)
        assert (found.stage, found.field) == ("scoring", "id")
        assert found.original_headers == headers
        assert "other content" in found.reason
    rows = await counts(engine)
    assert (rows["event"], rows["event_key"]) == (2, 2)


async def test_a_conflict_leaves_through_the_outbox(
    engine: AsyncEngine, store: PostgresStore
) -> None:
    """The dead letter is written in the transaction.

    A worker that dies before it sends leaves it to the next owner.
    """
    scoring = ScoringWorker(store, MemorySender())
    scoring.log.append(0, activity.event("e1", "ann", day(0)))
    scoring.log.append(0, activity.event("e1", "ann", day(1)), key=b"ann")
    await scoring.drain()
    successor = Relayed(engine)
    await successor.recover(await store.take_over((TOPIC, 0)))
    dead = [m for m in successor.sent if m.topic == DEAD]
    assert [letter(m).origin for m in dead] == [Origin(TOPIC, 0, 1)]
    assert dead == [Message(("", 0), m.topic, m.key, m.value, m.headers) for m in scoring.dead]


async def test_what_cannot_be_read_is_parked(engine: AsyncEngine, store: PostgresStore) -> None:
    """Not JSON, no value, no customer, an unknown type, a broken hash: one dead letter each.

    It has the bytes and the origin; the good records around it are folded.
    """
    bad = [
        b"not json",
        b"",
        None,
        activity.event("b1", "", day(0)),
        activity.event("b2", "ann", day(0), kind="io.example.unknown"),
        activity.event("b3", "ann", day(0)).replace(b'"contenthash":"', b'"contenthash":"zz'),
        activity.feedback("b4", "ann", day(0), "shouted"),
    ]
    scoring = ScoringWorker(store, Relayed(engine))
    for n, value in enumerate(bad):
        scoring.log.append(0, value, key=b"k")
        scoring.log.append(0, activity.event(f"good{n}", "ann", day(n)))
    await scoring.drain(lambda: 3)
    letters = [letter(m) for m in scoring.dead]
    assert [found.origin.offset for found in letters] == list(range(0, 2 * len(bad), 2))
    assert [found.value for found in letters] == bad
    assert all(found.stage == "scoring" and found.reason for found in letters)
    assert (await counts(engine))["event"] == len(bad)


async def test_the_longest_key(engine: AsyncEngine, store: PostgresStore) -> None:
    """A key of the longest accepted length fits the index, also where nothing compresses.

    One byte more is a dead letter, and does not affect its neighbours.
    """
    source = random.Random(8)  # noqa: S311 (repeatable on purpose)
    long = [
        "".join(chr(source.randrange(0x10000, 0x110000)) for _ in range(count))
        for count in (KEY_BYTES_MAX // 4 - 400, 200, 200)
    ]
    scoring = ScoringWorker(store, Relayed(engine))
    customer, till, name = long
    for one in (name, name + "x"):
        scoring.log.append(0, activity.event(one, customer, day(0), source=till))
    await scoring.drain()
    assert [letter(m).origin.offset for m in scoring.dead] == [1]
    assert set(await stored(engine)) == {customer}


@pytest.mark.parametrize("replay", [False, True])
async def test_rewinding_changes_nothing(
    engine: AsyncEngine, store: PostgresStore, *, replay: bool
) -> None:
    """An operator sets the offset back to the start, and everything is read again.

    States, assessments, what was published, keys and events are unchanged.
    """
    scoring = ScoringWorker(store, Relayed(engine), replay=replay)
    happenings = history(20, 12, seed=3)
    for n, happening in enumerate(happenings):
        scoring.log.append(int(happening.customer[1:]) % 2, happening.value())
        if n % 40 == 39:
            for partition in (0, 1):
                scoring.log.append(partition, activity.tick(happening.time))
    await scoring.drain(lambda: 25)
    before, told = await effects(engine), scoring.told
    assert told
    for partition in (0, 1):
        assert await store.ledger.reset((TOPIC, partition), 0)
    scoring.claims.clear()
    await scoring.drain(lambda: 60)
    after = await effects(engine)
    del before["outbox"], after["outbox"]
    assert after == before
    assert scoring.told == told
    assert_stored(await stored(engine), states(happenings))


@pytest.mark.parametrize("seed", [4, 5, 6])
async def test_any_order_any_batches(engine: AsyncEngine, store: PostgresStore, seed: int) -> None:
    """Arrival is shuffled, with repeats and random batches.

    The states are those of one fold over everything (a late event is no special case), the newest
    profile is kept, and the history holds each event as it came.
    """
    source = random.Random(seed)  # noqa: S311 (repeatable on purpose)
    happenings = history(40, 60, seed)
    arriving = happenings + source.sample(happenings, len(happenings) // 3)
    source.shuffle(arriving)
    scoring = ScoringWorker(store, Relayed(engine), replay=source.random() < 0.5)
    for happening in arriving:
        scoring.log.append(int(happening.customer[1:]) % 3, happening.value())
    await scoring.drain(lambda: source.choice([0, 1, 2, 7, 50, 400]))
    assert_stored(await stored(engine), states(happenings))
    rows = await counts(engine)
    assert rows["event"] == rows["event_key"] == len(happenings)
    assert {r["payload"] for r in await table(engine, "event")} == {h.value() for h in happenings}
    newest = {
        h.customer: h.data.profile
        for h in sorted(happenings, key=lambda h: (h.time, f"{SOURCE}\n{h.name}"))
        if h.kind is None
    }
    assert newest == {
        r["customer_id"]: msgspec.json.decode(r["profile"], type=Profile)
        for r in await table(engine, "profile")
    }


async def test_crashes_at_every_step(engine: AsyncEngine, store: PostgresStore) -> None:
    """Transactions fail before and after their COMMIT, and sends fail; partitions are claimed anew.

    The states are those of one fold, each event is stored once, and every message of the history
    was sent.
    """
    source = random.Random(7)  # noqa: S311 (repeatable on purpose)
    happenings = history(25, 40, seed=7)
    relay = Relayed(engine)
    scoring = ScoringWorker(_Failing(engine, source), relay)
    for happening in happenings:
        scoring.log.append(int(happening.customer[1:]) % 2, happening.value())
    failures = 0
    while not (scoring.claims and scoring.at_end):
        try:
            await scoring.drain(lambda: source.randrange(1, 40))
        except Transient:
            failures += 1
            for partition in (0, 1):
                claim = await store.take_over((TOPIC, partition))
                scoring.claims[claim.tp] = claim
                await relay.recover(claim)
    assert failures > 5
    assert_stored(await stored(engine), states(happenings))
    rows = await counts(engine)
    assert rows["event"] == rows["event_key"] == len(happenings)
    published = {r["message"] for r in await table(engine, "assessment_history")}
    assert {m.value for m in relay.sent if m.topic == RISK} == published
    kept = [r for r in await table(engine, "standing_change") if r["segment"] or r["before"]]
    assert kept, "nobody's standing changed: this proves nothing"
    assert len(kept) == len({(r["customer_id"], r["sequence"]) for r in kept})
    left = {(c.customer_id, c.sequence, c.kind, c.after) for c in scoring.changed}
    assert left == {(r["customer_id"], r["sequence"], r["kind"], r["after"]) for r in kept}


class _Failing(PostgresStore):
    """A store that loses the connection in one of five transactions, before or after its COMMIT."""

    def __init__(self, engine: AsyncEngine, source: random.Random) -> None:
        super().__init__(engine)
        self._source = source

    async def write(self, work: Any, effects: Any) -> Any:
        """Fail before the commit, after everything was written."""
        pending = await super().write(work, effects)
        if self._source.random() < 0.1:
            raise Transient("connection lost before the COMMIT")
        return pending

    def open(self) -> Any:
        """Fail after the commit."""
        return _After(super().open(), self._source)


class _After:
    def __init__(self, inner: Any, source: random.Random) -> None:
        self._inner = inner
        self._source = source

    async def __aenter__(self) -> Any:
        return await self._inner.__aenter__()

    async def __aexit__(self, *error: Any) -> None:
        await self._inner.__aexit__(*error)
        if error[0] is None and self._source.random() < 0.1:
            raise Transient("connection lost after the COMMIT")
