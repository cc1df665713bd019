"""An import without its end marker is visible to operators, who can end it."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import orjson
import pytest
from pydantic import SecretStr

from deploy.local.stack import LocalStack
from services.scoring.commands import imports, partitions
from services.scoring.commands.service import SPEC
from services.scoring.settings import ScoringSettings
from services.scoring.store.tables import SCHEMA
from shared.contracts.risk import DECODER
from shared.postgres.engine import create_engine, unit_of_work
from shared.postgres.ledger import Ledger, Move
from shared.postgres.settings import PostgresSettings
from shared.runtime.command_line import main
from tests.fakes import activity
from tests.fakes.log import MemoryLog
from tests.integration.scoring.postgres import table
from tests.integration.scoring.running import ServiceEnvironment, place, scoring

pytestmark = pytest.mark.stack

NOW = datetime.now(UTC)


@pytest.fixture
async def made(stack: LocalStack, database_url: str) -> AsyncIterator[ServiceEnvironment]:
    """Provide topics and tables with two partitions."""
    async with place(stack, database_url, 2) as found:
        yield found


def imported(log: MemoryLog, name: str, customer: str, partition: int) -> None:
    """Return an imported purchase of a year ago."""
    value = activity.event(name, customer, NOW - timedelta(days=365), backfill="year-2025")
    log.append(partition, value, key=customer.encode())


async def test_an_import_is_noted_and_ended(made: ServiceEnvironment) -> None:
    """The service is ready with a note; the sweep goes on after the command, without a restart.

    The import stays ended, also for late records of it through the other partition.
    """
    log = MemoryLog("activity")
    imported(log, "e1", "ann", 0)
    async with scoring(made) as service:
        await service.until("/readyz", 200)
        await made.send(log)
        await made.reached(1)
        while "imports" not in (await service.until("/readyz", 200)).json().get("notes", {}):  # noqa: ASYNC110
            await asyncio.sleep(0.1)
        note = (await service.until("/readyz", 200)).json()["notes"]["imports"]
        assert "import 'year-2025': the sweep of 1 partition rests" in note
        assert "imports end" in note
        assert await table(made.engine, "assessment_history") == []
        assert "has ended" in await made.command("imports", "end", "year-2025")
        reported = DECODER.decode((await made.read("risk", 1))[0].value or b"")
        assert (reported.customer_id, reported.onboarding) == ("ann", True)
        assert "notes" not in (await service.until("/readyz", 200)).json()
        late = MemoryLog("activity")
        imported(late, "e2", "eve", 1)
        await made.send(late)
        assert {r.key for r in await made.read("risk", 2)} == {b"ann", b"eve"}
        assert await service.stop() == 0


async def prepare(url: str, topic: str) -> None:
    """Create two partitions; an import pauses one of them."""
    engine = create_engine(PostgresSettings(url=SecretStr(url)), "test")
    try:
        ledger = Ledger(engine, SCHEMA)
        resting: dict[str, object] = {"backfill": "year-2025", "backfill_at": 1_772_355_600.0}
        live: dict[str, object] = {"now": 5.0}
        for number, progress in enumerate((resting, live)):
            claim = await ledger.take_over((topic, number), "test")
            async with unit_of_work(engine) as work:
                await ledger.advance(work, [Move(claim, 7, None, progress)])
    finally:
        await engine.dispose()


async def rows(url: str) -> list[tuple[int, dict[str, object]]]:
    """Return epoch and notes of each partition."""
    engine = create_engine(PostgresSettings(url=SecretStr(url)), "test")
    try:
        found = await Ledger(engine, SCHEMA).list_all()
        return [(row["epoch"], orjson.loads(row["progress"])) for row in found]
    finally:
        await engine.dispose()


def test_the_commands_list_the_import_under_way(
    stack: LocalStack,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Both lists show the import that is under way.

    Ending anything else changes nothing and lists what there is; the end is in the log, and every
    owner has to claim anew.
    """
    del stack
    monkeypatch.setenv("DATABASE_URL", database_url)
    topic = ScoringSettings().activity_topic
    asyncio.run(prepare(database_url, topic))

    def command(*words: str) -> int:
        def add(commands: object) -> None:
            imports.add_commands(commands)
            partitions.add_commands(commands)

        return main(SPEC, add, list(words))

    rests = "import 'year-2025': the sweep of 1 partition rests; its newest record came 2026-03-01"
    assert command("partitions", "show") == 0
    assert rests in capsys.readouterr().out
    assert command("imports", "show") == 0
    assert rests in capsys.readouterr().out
    assert command("imports", "end", "other") == 1
    assert "'other' is not under way; these are: 'year-2025'" in capsys.readouterr().err
    before = asyncio.run(rows(database_url))
    assert command("imports", "end", "year-2025") == 0
    audit = capsys.readouterr().err
    assert "an operator ended an import" in audit
    assert "year-2025" in audit
    after = asyncio.run(rows(database_url))
    assert [epoch for epoch, _ in after] == [epoch + 1 for epoch, _ in before]
    assert [notes for _, notes in after] == [
        {"ended": ["year-2025"]},
        {"now": 5.0, "ended": ["year-2025"]},
    ]
    assert command("imports", "end", "year-2025") == 1
    assert "nor is any other" in capsys.readouterr().err
    assert command("imports", "show") == 0
    assert "no import is under way" in capsys.readouterr().out
