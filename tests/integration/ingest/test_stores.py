"""The stores on the real database, and the unit tests' fakes, pass the same suite."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy.ext.asyncio import AsyncEngine

from services.ingest.ports import DeadLetterIndex, IntakeStops, Search
from services.ingest.store.dead_letters import DeadLetters
from services.ingest.store.stops import Stops
from services.ingest.store.tables import SCHEMA, metadata
from shared.contracts.dead_letter import DeadLetter, Origin
from shared.postgres.engine import create_engine, unit_of_work
from shared.postgres.migrations import migrate
from shared.postgres.settings import PostgresSettings
from tests.integration.ingest.running import VERSIONS
from tests.unit.ingest.fakes import NOW, FakeIndex, FakeStops

pytestmark = pytest.mark.stack


@pytest.fixture
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    """Provide an engine on ingest's tables."""
    engine = create_engine(PostgresSettings.model_validate({"url": database_url}), "test")
    await migrate(engine, SCHEMA, VERSIONS)
    yield engine
    await engine.dispose()


@dataclass(frozen=True, slots=True)
class Stores:
    """A set of stores, and a transaction that they share."""

    index: DeadLetterIndex
    stops: IntakeStops
    engine: AsyncEngine

    async def add(self, *letters: DeadLetter) -> None:
        async with unit_of_work(self.engine) as work:
            await self.index.add(work, letters, NOW)


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
    assert [x.letter for x in every] == [
        _letter(1),
        _letter(2, "data.currency"),
        _letter(2**63 - 1),
    ]
    assert [x.id for x in every] == sorted(x.id for x in every)
    first, second, last = every
    assert await stores.index.newest() == last.id
    assert (await stores.index.get(second.id)) == second
    assert (await stores.index.get(last.id + 1)) is None
    assert await stores.index.search(Search(), 1, after=first.id) == [second]
    assert await stores.index.search(Search(field="data.currency"), 10) == [second]
    assert await stores.index.search(Search(stage="scoring"), 10) == []
    assert await stores.index.search(Search(id_max=first.id), 10) == [first]
    await stores.index.mark_replayed([first.id], NOW)
    assert await stores.index.search(Search(), 10) == [second, last]
    replayed = (await stores.index.search(Search(waiting=False), 1))[0]
    assert (replayed.id, replayed.replayed_at) == (first.id, NOW)


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
