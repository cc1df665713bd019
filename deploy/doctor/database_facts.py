"""Gathers facts from PostgreSQL, over sessions that can only read."""

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import asyncpg
import orjson

from deploy.doctor.database_judgement import (
    BUDGET_DAYS,
    BudgetFacts,
    DatabaseFacts,
    RoleFacts,
    SchemaFacts,
)
from deploy.doctor.kafka_judgement import Reading
from deploy.doctor.process_judgement import ClockFacts
from services.alerts.core.signs import CHURNED, STATED
from services.alerts.ports import TICK
from services.scoring.core.imports import resting
from shared.contracts.signs import URGENCY
from shared.postgres import migrations
from shared.postgres.engine import NO_ANSWER, Driver
from shared.postgres.settings import PostgresSettings

CONNECT_S: Final = 5.0
STATEMENT_MS: Final = 5_000
"""How long a statement may take: the tables may be large, and the services go first."""
SERVICES: Final = Path(migrations.__file__).parents[2] / "services"

UNREACHABLE: Final = (
    *NO_ANSWER,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.TooManyConnectionsError,
    ValueError,
)
"""What is raised where no session can be had."""


@asynccontextmanager
async def session(settings: PostgresSettings) -> AsyncIterator[Driver]:
    """Opens a session that cannot write."""
    connection = await asyncpg.connect(
        settings.url.get_secret_value(),
        timeout=CONNECT_S,
        server_settings={
            "application_name": "ebbwatch-doctor",
            "default_transaction_read_only": "on",
            "statement_timeout": str(STATEMENT_MS),
            "timezone": "UTC",
        },
    )
    try:
        yield connection
    finally:
        await connection.close(timeout=CONNECT_S)


def address(settings: PostgresSettings) -> str:
    """Returns host, port and database, without user and password."""
    try:
        url = urlsplit(settings.url.get_secret_value())
        port = url.port or 5432
    except ValueError:
        return "the address in DATABASE_URL"
    return f"{url.hostname}:{port}{url.path}"


async def _one(connection: Driver, query: str, *values: Any) -> asyncpg.Record:
    """Returns the row of a query that always has one."""
    row = await connection.fetchrow(query, *values)
    if row is None:
        raise AssertionError("a query that has one row returned none")
    return row


async def server(settings: PostgresSettings) -> DatabaseFacts:
    """Asks what server answers."""
    async with session(settings) as connection:
        row = await _one(
            connection,
            "SELECT current_setting('server_version_num')::int, pg_is_in_recovery(), "
            "current_setting('fsync')::bool, (SELECT count(*) FROM pg_stat_activity "
            "WHERE backend_type = 'client backend'), current_setting('max_connections')::int",
        )
    return DatabaseFacts(address(settings), *row)


async def schemas(settings: PostgresSettings, names: Sequence[str]) -> list[SchemaFacts]:
    """Reads the revision of each service's tables."""
    found = []
    async with session(settings) as connection:
        for name in names:
            table = f"{name}.alembic_version"
            there = await connection.fetchval("SELECT to_regclass($1)", table)
            stored = there and await connection.fetchval(f"SELECT version_num FROM {table}")  # noqa: S608
            found.append(SchemaFacts(name, stored, *_release(name)))
    return found


def _release(service: str) -> tuple[str, frozenset[str]]:
    """Returns the newest revision of this release and all of them."""
    scripts = migrations.scripts(SERVICES / service / "store" / "versions")
    known = frozenset(script.revision for script in scripts.walk_revisions())
    return scripts.get_current_head() or "", known


async def role(settings: PostgresSettings) -> RoleFacts:
    """Asks for the role that the services connect as."""
    async with session(settings) as connection:
        row = await _one(
            connection,
            "SELECT rolname, rolsuper, rolbypassrls OR rolcreaterole FROM pg_roles "
            "WHERE rolname = current_user",
        )
    return RoleFacts(*row)


async def tokens(settings: PostgresSettings, service: str) -> list[dict[str, Any]]:
    """Reads a service's tokens, without their digests."""
    async with session(settings) as connection:
        rows = await connection.fetch(
            "SELECT id, name, scopes, revoked_at, expires_at, last_used_at "  # noqa: S608
            f"FROM {service}.api_token ORDER BY id"
        )
    return [dict(row) for row in rows]


async def endpoints(settings: PostgresSettings) -> list[dict[str, Any]]:
    """Reads every endpoint that is not deleted, with what waits for it."""
    async with session(settings) as connection:
        rows = await connection.fetch(
            """
            SELECT e.id, e.disabled_at, e.disabled_reason, e.paused_at, e.failing_since,
                   (SELECT count(*) FROM alerts.delivery d
                     WHERE d.endpoint_id = e.id AND d.status = 'pending') AS waiting,
                   ARRAY(SELECT DISTINCT s.key_id FROM alerts.endpoint_secret s
                          WHERE s.endpoint_id = e.id
                            AND (s.expires_at IS NULL OR s.expires_at > now())) AS sealed_with
              FROM alerts.endpoint e WHERE e.deleted_at IS NULL ORDER BY e.id
            """
        )
    return [dict(row) for row in rows]


async def readings(
    settings: PostgresSettings, service: str, topics: Sequence[str], compacted: Sequence[str]
) -> list[Reading]:
    """Reads how far a service has read these topics, by its ledger."""
    async with session(settings) as connection:
        rows = await connection.fetch(
            "SELECT topic, partition, next_offset, status, status_reason "  # noqa: S608
            f"FROM {service}.partition WHERE topic = ANY($1::text[]) ORDER BY 1, 2",
            list(topics),
        )
    return [
        Reading(
            service=service,
            topic=row["topic"],
            partition=row["partition"],
            next_offset=row["next_offset"],
            begin=0,
            end=0,
            stopped=(row["status_reason"] or "") if row["status"] == "stopped" else None,
            compacted=row["topic"] in compacted,
        )
        for row in rows
    ]


async def imports(settings: PostgresSettings, topic: str) -> list[tuple[str, int, datetime | None]]:
    """Reads the imports under way: name, partitions that rest, newest arrival."""
    async with session(settings) as connection:
        rows = await connection.fetch(
            "SELECT partition, progress FROM scoring.partition WHERE topic = $1", topic
        )
    found = resting((row["partition"], orjson.loads(row["progress"])) for row in rows)
    return [(one.name, len(one.partitions), one.newest) for one in found]


async def promoted(settings: PostgresSettings) -> tuple[str, str] | None:
    """Reads version and digest of the promoted model; None: the rule serves."""
    async with session(settings) as connection:
        row = await connection.fetchrow(
            "SELECT m.version, m.digest FROM scoring.model m JOIN "
            "(SELECT version FROM scoring.model_promotion ORDER BY id DESC LIMIT 1) p "
            "ON p.version = m.version"
        )
    return None if row is None else (row["version"], row["digest"])


async def hosts(settings: PostgresSettings, topic: str) -> list[str]:
    """Reads the hosts of the processes that read the topic's partitions for scoring."""
    async with session(settings) as connection:
        rows = await connection.fetch(
            "SELECT DISTINCT worker FROM scoring.partition WHERE topic = $1 AND worker <> '' "
            "AND moved_at > now() - interval '1 hour' ORDER BY 1",
            topic,
        )
    return sorted({row["worker"].partition("/")[0] for row in rows})


_BUDGETED: Final = [*URGENCY[len(STATED) :], CHURNED]
"""Causes that the policy's budget limits."""


async def budget(settings: PostgresSettings, now: datetime, *, replay: bool) -> BudgetFacts:
    """Counts the warnings of the month before `now`, UTC; in a `replay` before its newest tick."""
    async with session(settings) as connection:
        if replay:
            query = "SELECT max((progress::json ->> $1)::float8) FROM alerts.partition"
            now = datetime.fromtimestamp(await connection.fetchval(query, TICK) or 0.0, UTC)
        begin = now - timedelta(days=BUDGET_DAYS)
        wanted = await connection.fetchval(
            "SELECT (document #>> '{budget,warnings_per_100}')::float8 FROM alerts.policy "
            "ORDER BY version DESC LIMIT 1"
        )
        row = await _one(
            connection,
            "SELECT count(*) FILTER (WHERE opened_at > $1) AS warnings, min(opened_at) AS first "
            "FROM alerts.task WHERE cause = ANY($2::text[]) AND opened_at <= $3",
            begin,
            _BUDGETED,
            now,
        )
        customers = await connection.fetchval("SELECT count(*) FROM scoring.customer_state")
    days = 0.0 if row["first"] is None else (now - row["first"]).total_seconds() / 86_400
    return BudgetFacts(row["warnings"], customers, wanted, days)


async def clock(settings: PostgresSettings) -> ClockFacts:
    """Measures the server's clock against this machine's."""
    async with session(settings) as connection:
        await connection.fetchval("SELECT clock_timestamp()")  # the first one prepares it
        before = time.time()
        at = await connection.fetchval("SELECT clock_timestamp()")
        after = time.time()
    ahead = at.timestamp() - (before + after) / 2
    return ClockFacts("PostgreSQL", ahead, (after - before) / 2)
