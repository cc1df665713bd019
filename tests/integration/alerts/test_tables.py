"""The migrations create exactly the tables that the code names."""

from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy.ext.asyncio import AsyncEngine

from services.alerts.store.tables import SCHEMA, metadata

pytestmark = pytest.mark.stack


def _ours(name: str | None, kind: str, _: Any) -> bool:
    if kind == "schema":
        return name == SCHEMA
    return name != "alembic_version" and not (name or "").startswith("attempt_")  # its days


def _differences(connection: sa.Connection) -> list[Any]:
    options = {"include_schemas": True, "include_name": _ours, "compare_server_default": True}
    return list(compare_metadata(MigrationContext.configure(connection, opts=options), metadata))


async def test_migrated_tables_are_those_of_the_code(engine: AsyncEngine) -> None:
    async with engine.connect() as connection:
        assert await connection.run_sync(_differences) == []


async def test_the_database_itself_refuses_a_second_open_task(engine: AsyncEngine) -> None:
    """Invariant 10 holds even if everything above the table fails."""
    async with engine.connect() as connection:
        indexes = await connection.run_sync(
            lambda c: sa.inspect(c).get_indexes("task", schema=SCHEMA)
        )
    (one,) = [i for i in indexes if i["name"] == "uq_task_open"]
    assert one["unique"]
    assert one["column_names"] == ["customer_id", "cause"]
    assert "status" in one["dialect_options"]["postgresql_where"]
