"""Single statements, each a transaction of its own; raises Transient for errors that pass."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from shared.postgres.engine import UnitOfWork, unit_of_work


class Statements:
    """Base of classes with statements on one engine, each a transaction of its own."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine


async def fetch(engine: AsyncEngine, query: str, *arguments: object) -> Sequence[Any]:
    """Returns the rows of a statement, as asyncpg gives them."""
    async with unit_of_work(engine) as work:
        return await work.driver.fetch(query, *arguments)


async def fetch_in_chunks(
    engine: AsyncEngine, rows_max: int, query: str, *arguments: object
) -> AsyncIterator[Sequence[Any]]:
    """Yields the rows of a statement that reads a whole table, at most `rows_max` at once.

    The transaction has no limits of time."""
    async with unit_of_work(engine, "SET LOCAL statement_timeout = 0") as work:
        await work.driver.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        cursor = await work.driver.cursor(query, *arguments)
        while rows := await cursor.fetch(rows_max):
            yield rows


async def fetch_value(engine: AsyncEngine, query: str, *arguments: object) -> Any:
    """Returns the first column of a statement's first row; None where there is no row."""
    async with unit_of_work(engine) as work:
        return await work.driver.fetchval(query, *arguments)


async def execute(engine: AsyncEngine, query: str, *arguments: object) -> str:
    """Executes a statement; returns its command tag, such as `UPDATE 3`."""
    async with unit_of_work(engine) as work:
        return await work.driver.execute(query, *arguments)


def row_count(status: str) -> int:
    """Returns the number of rows that a statement concerned, from its command tag.

    >>> row_count("INSERT 0 5"), row_count("DELETE 3")
    (5, 3)
    """
    return int(status.rpartition(" ")[2])


async def rows_of(work: UnitOfWork, query: sa.Executable) -> list[dict[str, Any]]:
    """Returns the rows of a query within an open transaction, by the names of its columns."""
    return [dict(row) for row in (await work.connection.execute(query)).mappings()]


async def select(engine: AsyncEngine, query: sa.Executable) -> list[dict[str, Any]]:
    """Returns the rows of a query, each by the names of its columns."""
    async with unit_of_work(engine) as work:
        return [dict(row) for row in (await work.connection.execute(query)).mappings()]


async def change(engine: AsyncEngine, statement: sa.Executable) -> int:
    """Executes a statement that changes rows; returns how many it concerned."""
    async with unit_of_work(engine) as work:
        return (await work.connection.execute(statement)).rowcount
