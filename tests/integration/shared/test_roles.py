"""A service's role in the database: it works with its rows, and can do nothing else."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import asyncpg
import pytest
from pydantic import SecretStr

from shared.postgres.engine import create_engine
from shared.postgres.housekeeping import Housekeeping, Kept, TimeTable
from shared.postgres.migrations import migrate
from shared.postgres.roles import script
from shared.postgres.settings import PostgresSettings
from tests.e2e.services_on_history import database_roles
from tests.fakes.clock import SetClock

pytestmark = [pytest.mark.stack, pytest.mark.access]

NAMES = ("ingest", "scoring", "alerts")
TABLES = (
    TimeTable("scoring.event", "recorded_at", "month", 400),
    TimeTable("alerts.attempt", "started_at", "day", 30),
)

REFUSED = {
    "scoring": (
        "DROP TABLE scoring.customer_state",
        "ALTER TABLE scoring.customer_state ADD COLUMN x int",
        "CREATE TABLE scoring.mine (x int)",
        "CREATE TABLE public.mine (x int)",
        "CREATE SCHEMA mine",
        "CREATE INDEX ON scoring.profile (owner_id)",
        "TRUNCATE scoring.event",
        "ALTER TABLE scoring.audit DISABLE TRIGGER ALL",
        "UPDATE scoring.alembic_version SET version_num = 'x'",
        "DELETE FROM scoring.erasure_key",
        "ALTER FUNCTION scoring.guard_audit() RENAME TO guard",
        "SELECT count(*) FROM alerts.customer",
        "SELECT count(*) FROM ingest.dead_letter",
        "SELECT alerts.drop_partition('attempt', 'attempt_rest', now())",
        "INSERT INTO alerts.wish DEFAULT VALUES",
        "CREATE ROLE mine",
        "ALTER ROLE ebbwatch_scoring SUPERUSER",
        "SET ROLE ebbwatch_scoring_owner",
        "COPY (SELECT 1) TO PROGRAM 'true'",
        "SELECT pg_read_file('/etc/passwd')",
    ),
    "alerts": (
        "UPDATE alerts.wish SET said = 'consent'",
        "DROP TABLE alerts.task",
        "SELECT count(*) FROM scoring.profile",
        "SELECT count(*) FROM ingest.api_token",
    ),
    "ingest": ("DROP TABLE ingest.dead_letter", "SELECT count(*) FROM alerts.endpoint_secret"),
}


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[asyncpg.Connection]:
    """Provide a connection."""
    made = await asyncpg.connect(url)
    try:
        yield made
    finally:
        await made.close()


@pytest.fixture
async def urls(database_url: str) -> dict[str, str]:
    """Provide the URL of each service's role, once its owner has made the tables."""
    made = await database_roles(database_url)
    for name in NAMES:
        engine = create_engine(PostgresSettings(url=SecretStr(made[name].owner)), "test")
        await migrate(engine, name, Path(f"services/{name}/store/versions"))
        await migrate(engine, name, Path(f"services/{name}/store/versions"))
        await engine.dispose()
    await database_roles(database_url)
    return {name: both.runtime for name, both in made.items()}


@pytest.mark.parametrize("service", NAMES)
async def test_a_service_changes_no_table_and_sees_no_other_service(
    urls: dict[str, str], service: str
) -> None:
    async with connected(urls[service]) as connection:
        for statement in REFUSED[service]:
            with pytest.raises(asyncpg.PostgresError) as refused:
                await connection.execute(statement)
            denied = isinstance(refused.value, asyncpg.InsufficientPrivilegeError)
            assert denied, (statement, refused.value)
        readable = await connection.fetch(
            "SELECT schemaname FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', "
            "'information_schema') AND has_table_privilege(schemaname || '.' || tablename, "
            "'SELECT') AND has_schema_privilege(schemaname, 'USAGE') GROUP BY 1"
        )
        assert [row[0] for row in readable] == [service]


@pytest.mark.parametrize("table", TABLES, ids=lambda each: each.name)
async def test_partitions_are_kept_without_rights_on_tables(
    urls: dict[str, str], table: TimeTable
) -> None:
    """Made ahead, dropped by the retention; and no partition that is not due can be dropped."""
    schema, _, parent = table.name.partition(".")
    engine = create_engine(PostgresSettings(url=SecretStr(urls[schema])), "test")
    clock, seen = SetClock(), list[Kept]()
    keeping = Housekeeping(engine, clock, (table,), seen.append)
    await keeping.once()
    assert seen[-1].partitions >= 4
    clock.pass_by(timedelta(days=table.retention_days + 40))
    await keeping.once()
    assert seen[-1].dropped >= 1
    await engine.dispose()
    async with connected(urls[schema]) as connection:
        for part in (f"{parent}_rest", parent, "profile", "x; DROP TABLE scoring.event"):
            with pytest.raises(asyncpg.PostgresError, match="is no partition"):
                await connection.execute(
                    f"SELECT {schema}.drop_partition($1, $2, now())", parent, part
                )


async def test_the_script_can_be_run_again_on_existing_tables(
    urls: dict[str, str], database_url: str
) -> None:
    """Also where an administrator had made the tables, as before there were roles."""
    async with connected(database_url) as connection:
        await connection.execute("ALTER TABLE scoring.profile OWNER TO CURRENT_USER")
        await connection.execute(script("scoring"))
        await connection.execute(script("scoring"))
    async with connected(urls["scoring"]) as connection:
        assert await connection.fetchval("SELECT count(*) FROM scoring.profile") == 0
        await connection.execute("UPDATE scoring.erasure SET begun_at = begun_at")
