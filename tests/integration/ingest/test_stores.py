"""The stores on the real database, and the unit tests' fakes, pass the same suite."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from datetime import timedelta

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy.ext.asyncio import AsyncEngine

from services.ingest.core.dead_letters import ReadLetter
from services.ingest.core.source_clocks import SourceReport
from services.ingest.ports import DeadLetterIndex, IntakeStops, Search, Settlement
from services.ingest.store.dead_letters import DeadLetters
from services.ingest.store.source_clocks import SourceClockDays
from services.ingest.store.stops import Stops
from services.ingest.store.tables import metadata
from shared.contracts.dead_letter import DeadLetter, Origin
from shared.postgres.engine import UnitOfWork, create_engine, unit_of_work
from shared.postgres.settings import PostgresSettings
from tests.unit.ingest.fakes import NOW, FakeIndex, FakeStops

pytestmark = pytest.mark.stack

HOUR = timedelta(hours=1)


@pytest.fixture
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    """Provide an engine on ingest's tables."""
    engine = create_engine(PostgresSettings.model_validate({"url": database_url}), "test")
    yield engine
    await engine.dispose()


@dataclass(frozen=True, slots=True)
class Stores:
    """A set of stores, and a transaction that they share."""

    index: DeadLetterIndex
    stops: IntakeStops
    engine: AsyncEngine

    def transaction(self) -> AbstractAsyncContextManager[UnitOfWork]:
        return unit_of_work(self.engine)

    async def content(self, letter_id: int) -> DeadLetter:
        found = await self.index.get(letter_id)
        assert found is not None
        return found.letter

    async def add(self, *letters: DeadLetter) -> None:
        async with self.transaction() as work:
            await self.index.add(work, [ReadLetter(letter) for letter in letters], NOW)


@pytest.fixture(params=["real", "fake"])
def stores(request: pytest.FixtureRequest, engine: AsyncEngine) -> Stores:
    """Provide the real stores, or the fakes."""
    if request.param == "real":
        return Stores(DeadLetters(engine), Stops(engine), engine)
    return Stores(FakeIndex(), FakeStops(), engine)


def _letter(offset: int, field: str = "time") -> DeadLetter:
    origin = Origin("raw", 2**31 - 1, offset)
    return DeadLetter(b"\0", b"\xff", (("h\0", b"\0"),), origin, "ingest", field, "why")


async def test_the_index_of_dead_letters(stores: Stores) -> None:
    """A dead letter is stored once by origin, found by each filter, and returned unchanged."""
    assert await stores.index.newest() == 0
    await stores.add(_letter(1), _letter(2, "data.currency"), _letter(1))
    await stores.add(_letter(1), _letter(2**63 - 1))
    every = await stores.index.search(Search(), 10)
    assert [(await stores.content(x.id)) for x in every] == [
        _letter(1),
        _letter(2, "data.currency"),
        _letter(2**63 - 1),
    ]
    assert [x.id for x in every] == sorted(x.id for x in every)
    first, second, last = every
    assert await stores.index.newest() == last.id
    assert (await stores.index.get(last.id + 1)) is None
    assert await stores.index.search(Search(), 1, after=first.id) == [second]
    assert await stores.index.search(Search(field="data.currency"), 10) == [second]
    assert await stores.index.search(Search(stage="scoring"), 10) == []
    assert await stores.index.search(Search(id_max=first.id), 10) == [first]
    for search, found in (
        (Search(reason="WH"), every),
        (Search(reason="w_y"), []),
        (Search(source="raw"), every),
        (Search(source="shop/till"), []),
        (Search(since=NOW, until=NOW + HOUR), every),
        (Search(since=NOW + HOUR), []),
        (Search(until=NOW), []),
        (Search(state="discarded"), []),
        (Search(state=None), every),
    ):
        assert await stores.index.search(search, 10) == found, search


async def test_states(stores: Stores) -> None:
    """What is settled is found by its state; content is deleted later, and the facts stay."""
    await stores.add(_letter(1), _letter(2), _letter(3))
    first, second, third = await stores.index.search(Search(), 10)
    async with stores.transaction() as work:
        locked = await stores.index.locked(work, Search(), None, 2, 0)
        assert [x.facts for x in locked] == [first, second]
        await stores.index.settle(work, [first.id], Settlement("replayed", NOW, "ann"))
        chosen = await stores.index.locked(work, Search(state=None), [second.id, 9**9], 5, 0)
        assert [x.facts.id for x in chosen] == [second.id]
        discarded = Settlement("discarded", NOW, "bob", "a test")
        await stores.index.settle(work, [second.id], discarded)
    assert await stores.index.search(Search(), 10) == [third]
    (gone,) = await stores.index.search(Search(state="discarded"), 10)
    assert (gone.id, gone.settled_at, gone.settled_by, gone.settled_why) == (
        second.id,
        NOW,
        "bob",
        "a test",
    )
    assert await stores.index.drop_contents(NOW, NOW + HOUR, 10) == 0
    assert await stores.index.drop_contents(NOW + HOUR, NOW + HOUR, 1) == 1
    assert await stores.index.drop_contents(NOW + HOUR, NOW + HOUR, 10) == 1
    assert await stores.index.drop_contents(NOW + HOUR, NOW + HOUR, 10) == 0
    emptied, waiting = await stores.content(second.id), await stores.content(third.id)
    assert (emptied.key, emptied.value, emptied.original_headers) == (None, None, ())
    assert waiting == _letter(3)


async def test_a_second_refusal_is_recognised(stores: Stores) -> None:
    """It is linked to the dead letter that was replayed; a made-up number is not."""
    await stores.add(_letter(1), _letter(2))
    first, second = await stores.index.search(Search(), 10)
    async with stores.transaction() as work:
        await stores.index.settle(work, [first.id], Settlement("replayed", NOW, "ann"))
    async with stores.transaction() as work:
        again = [ReadLetter(_letter(n), of) for n, of in ((3, first.id), (4, second.id), (5, 77))]
        await stores.index.add(work, again, NOW)
    found = await stores.index.search(Search(), 10, second.id)
    assert [x.replay_of for x in found] == [first.id, None, None]
    assert await stores.index.refused_again([first.id, second.id]) == {first.id: found[0].id}


async def test_groups(stores: Stores) -> None:
    """Reasons that differ in quoted values and numbers only are one fault."""
    reasons = ("'a' is 1 of 2", "'b, c' is 17 of 2.5", "wrong", "'d' is 3 of 4")
    letters = [replace(_letter(n), reason=reason) for n, reason in enumerate(reasons)]
    await stores.add(*letters, replace(_letter(9), field="id", reason=reasons[0]))
    found = await stores.index.groups(Search(), 10)
    assert [(x.field, x.count, x.reason) for x in found] == [
        ("time", 3, "'d' is 3 of 4"),
        ("id", 1, "'a' is 1 of 2"),
        ("time", 1, "wrong"),
    ]
    assert (found[0].first_at, found[0].last_at, found[0].again) == (NOW, NOW, 0)
    assert len(await stores.index.groups(Search(), 1)) == 1
    assert [x.count for x in await stores.index.groups(Search(field="id"), 10)] == [1]
    assert await stores.index.groups(Search(state="replayed"), 10) == []


async def test_clocks_by_day(engine: AsyncEngine) -> None:
    """Counts add up, medians are the newest, old days are deleted."""
    days = SourceClockDays(engine)
    yesterday, long_ago = NOW - timedelta(days=1), NOW - timedelta(days=40)
    await days.add([SourceReport("old", 9, 0, 1.0, 0.0, 0.0)], long_ago)
    await days.add([SourceReport("till", 30, 1, NOW.timestamp(), -5.0, 2.0)], yesterday)
    none = SourceReport("till", 0, 9, None, None, None)
    await days.add([none, SourceReport("web\x1b", 1, 0, 5.0, 0.5, 0.0)], NOW)
    today, both = await days.since(NOW, 10), await days.since(yesterday, 10)
    assert [(x.source, x.accepted, x.future, x.median_s) for x in today] == [
        ("till", 0, 9, None),
        ("web\x1b", 1, 0, 0.5),
    ]
    till = both[0]
    assert (till.accepted, till.future, till.newest_s) == (30, 10, NOW.timestamp())
    assert (till.median_s, till.spread_s) == (-5.0, 2.0)
    assert till.fault is not None
    assert "25%" in till.fault
    assert [x.source for x in await days.since(long_ago, 10)] == ["till", "web\x1b"]
    await days.add([SourceReport("till", 1, 0, 1.0, -7.0, 0.0)], NOW)
    assert [x.median_s for x in await days.since(yesterday, 1)] == [-7.0]


async def test_stops(stores: Stores) -> None:
    """A stop is open until it is resumed; the first open one gives the reason."""
    assert await stores.stops.reason() is None
    await stores.stops.open("first", NOW)
    await stores.stops.open("second", NOW)
    assert await stores.stops.reason() == "first"
    assert await stores.stops.resume(NOW) == 2
    assert await stores.stops.reason() is None
    assert await stores.stops.resume(NOW) == 0


async def test_the_migrations_make_the_declared_tables(engine: AsyncEngine) -> None:
    """The migrations create what the code declares: tables, columns, types, indexes."""

    async with engine.connect() as connection:
        differences = await connection.run_sync(
            lambda sync: compare_metadata(
                MigrationContext.configure(
                    sync,
                    opts={
                        "include_schemas": True,
                        "compare_type": True,
                        "include_object": lambda _o, name, kind, *_: (
                            not (kind == "table" and name == "alembic_version")
                        ),
                    },
                ),
                metadata,
            )
        )
    assert differences == []
