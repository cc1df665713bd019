"""What several tables have done to them alike: filters of a list, deletion of old rows."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from shared.postgres.engine import UnitOfWork


def equal(*given: tuple[sa.ColumnElement[Any], object]) -> list[sa.ColumnElement[bool]]:
    """Return the conditions that columns equal values; None is no condition."""
    return [column == value for column, value in given if value is not None]


async def forget(work: UnitOfWork, time: sa.Column[Any], before: datetime, most: int) -> int:
    """Delete at most `most` rows of a table with a `time` before then; return how many."""
    table = time.table
    key = table.primary_key.columns
    old = sa.select(*key).where(time < before).order_by(time).limit(most)
    gone = await work.connection.execute(sa.delete(table).where(sa.tuple_(*key).in_(old)))
    return gone.rowcount
