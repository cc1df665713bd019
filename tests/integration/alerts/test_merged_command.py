"""`customers merged` prints what it did, and reports that it did nothing for an unknown id."""

import asyncio
from pathlib import Path

import asyncpg
import pytest
from pydantic import SecretStr

from deploy.local.stack import LocalStack
from services.alerts.commands.customers import add_commands
from services.alerts.commands.running import SPEC
from services.alerts.store.tables import SCHEMA
from shared.postgres.engine import create_engine
from shared.postgres.migrations import migrate
from shared.postgres.settings import PostgresSettings
from shared.runtime.command_line import main

pytestmark = pytest.mark.stack
VERSIONS = Path("services/alerts/store/versions")


async def prepare(url: str) -> None:
    """Create the tables and one customer."""
    engine = create_engine(PostgresSettings(url=SecretStr(url)), "test")
    await migrate(engine, SCHEMA, VERSIONS)
    await engine.dispose()
    connection = await asyncpg.connect(url)
    await connection.execute("INSERT INTO alerts.customer (customer_id) VALUES ('c-1')")
    await connection.close()


async def customers(url: str) -> list[str]:
    """Return the ids of the stored customers."""
    connection = await asyncpg.connect(url)
    try:
        return [row[0] for row in await connection.fetch("SELECT customer_id FROM alerts.customer")]
    finally:
        await connection.close()


def test_an_unknown_customer_is_an_error(
    stack: LocalStack,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The command exits with status 1 and stores no row for a mistyped id."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    asyncio.run(prepare(database_url))
    assert main(SPEC, add_commands, ["customers", "merged", "c-2"]) == 1
    assert "no customer 'c-2' is known" in capsys.readouterr().err
    assert main(SPEC, add_commands, ["customers", "merged", "a\0b"]) == 1
    assert "U+0000" in capsys.readouterr().err
    assert asyncio.run(customers(database_url)) == ["c-1"]
    assert main(SPEC, add_commands, ["customers", "merged", "c-1"]) == 0
    assert "0 open tasks closed" in capsys.readouterr().out
