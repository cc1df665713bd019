"""Reads everything that a service stores of one customer, for an answer to an access request."""

import base64
from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from shared.postgres.engine import unit_of_work

ROWS_AT_ONCE: Final = 500
"""Rows held in memory at once: about 1 MB."""

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class CustomerExport:
    """The tables with rows of customers, each with what it holds in words."""

    engine: AsyncEngine
    tables: Sequence[sa.Table]
    omitted: Collection[str] = ()
    """Columns that only steer the processing: partition numbers, tokens of leases."""
    ids: str = "SELECT $1::text"
    """Query for all ids of the customer with the id `$1`; each row names the one that it is of."""

    async def rows(self, customer_id: str) -> AsyncIterator[tuple[str, Row]]:
        """Read (table, row) of a customer, table by table, from one snapshot.

        A table without an index by customer is scanned: that may take minutes.
        """
        begin = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"
        async with unit_of_work(self.engine, begin) as work:
            await work.driver.execute("SET LOCAL statement_timeout = 0")
            await work.driver.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
            ids = [row[0] for row in await work.driver.fetch(self.ids, customer_id)]
            for table in self.tables:
                names = [column.name for column in table.c if column.name not in self.omitted]
                columns = ", ".join(f'"{name}"' for name in names)
                query = (
                    f"SELECT {columns} FROM {table.fullname} WHERE customer_id = ANY($1::text[])"  # noqa: S608
                )
                cursor = await work.driver.cursor(query, ids)
                while found := await cursor.fetch(ROWS_AT_ONCE):
                    for row in found:
                        yield table.name, {name: readable(row[name]) for name in names}


def customer_tables(metadata: sa.MetaData, meanings: Collection[str]) -> list[sa.Table]:
    """Returns the tables with rows of customers, in the order of `meanings`, others at the end.

    The marks of erasures belong to no customer.
    """
    order = list(meanings)
    found = [t for t in metadata.tables.values() if "customer_id" in t.c and t.name != "erasure"]
    return sorted(found, key=lambda t: order.index(t.name) if t.name in order else len(order))


def readable(value: Any) -> Any:
    """Returns a stored value in a form that a person and JSON can read.

    Bytes hold JSON where a message or an event is stored as it came.

    >>> readable(b'{"a": 1}'), readable(b"text"), readable(b"\\x00\\xff")
    ({'a': 1}, 'text', 'base64:AP8=')
    """
    if isinstance(value, (bytes, memoryview)):
        raw = bytes(value)
        try:
            return msgspec.json.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return _text(raw)
    if isinstance(value, str) and value[:1] in {"{", "["}:
        try:
            return msgspec.json.decode(value)
        except msgspec.DecodeError:
            return value
    return value


def _text(raw: bytes) -> str:
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        text = "\0"
    return f"base64:{base64.b64encode(raw).decode()}" if "\0" in text else text
