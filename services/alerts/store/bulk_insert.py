"""Bulk insert by COPY for rows that are nearly always new.

Nearly every message comes only once. A COPY fails as a whole if one row exists: then the caller
inserts the rows of the batch. Storing purchases by an insert that checks each row took 1.5 times as
long as by COPY for 2,000 rows (25 ms against 16), 1.4 times for 500, 1.1 times for 100 and 0.8
times for 16 (both in one run, alternating).
"""

from collections.abc import Sequence
from typing import Any, Final

import asyncpg

from shared.postgres.engine import UnitOfWork

COPIED_MIN: Final = 64
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
