"""Rows of which hardly any is known are copied; those of a turn with a known one are inserted.

What it is for: messages come once, nearly always. An insert that looks for each row whether it is
known costs twice as much as a COPY, which fails as a whole where one is.
"""

from collections.abc import Sequence
from typing import Any, Final

import asyncpg

from shared.postgres.engine import UnitOfWork

COPIED_MIN: Final = 16
"""Rows from which a COPY, with the savepoint that it needs, costs less than an insert."""


async def copied(
    work: UnitOfWork, table: str, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]
) -> bool:
    """Append the rows to a table of alerts unless they are few or one is known: False then, and
    none is there."""
    if len(rows) < COPIED_MIN:
        return False
    try:
        async with work.driver.transaction():  # a savepoint
            await work.driver.copy_records_to_table(
                table, schema_name="alerts", columns=columns, records=rows
            )
    except asyncpg.UniqueViolationError:
        return False
    return True
