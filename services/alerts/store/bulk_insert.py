"""Bulk insert by COPY for rows that are nearly always new.

Nearly every message comes only once. An insert that checks each row costs twice as much as a COPY,
which fails as a whole if one row exists: then the caller inserts the rows of the batch.
"""

from collections.abc import Sequence
from typing import Any, Final

import asyncpg

from shared.postgres.engine import UnitOfWork

COPIED_MIN: Final = 16
"""Least number of rows for which a COPY, with its savepoint, costs less than an insert."""


async def copied(
    work: UnitOfWork, table: str, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]
) -> bool:
    """Append the rows to a table of alerts by COPY; return whether it was done.

    It is not done, and no row is written, if they are few or one of them exists.
    """
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
