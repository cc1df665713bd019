"""Reads everything that a service stores of one customer, for an answer to an access request."""

import base64
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from shared.postgres.engine import unit_of_work

ROWS_AT_ONCE: Final = 500
"""Rows held in memory at once: about 1 MB."""

ABOUT: Final = (
    "Times are in UTC (Z). Days are counted in 24 hours. Amounts of money are in the currency that "
    "stands beside them, otherwise in the reporting currency: {currency}. A probability is a "
    "number from 0 to 1. Empty (null): not known, or not happened."
)
"""What holds for every field; `currency`: a code, or where it is named."""

Row = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomerExport:
    """The tables with rows of customers, each with what it holds in words."""

    engine: AsyncEngine
    tables: Sequence[sa.Table]
    meanings: Mapping[str, str]
    """What each table holds. A table that is not named is exported under its own name."""
    fields: Mapping[str, str]
    """What each column holds, by `table.column`, or by `column` in every table."""
    currency: str
    omitted: Collection[str] = ()
    """Columns that only steer the processing: partition numbers, tokens of leases."""
    ids: str = "SELECT $1::text"
    """Query for all ids of the customer with the id `$1`; each row names the one that it is of."""
    conditions: Mapping[str, str] = field(default_factory=dict)
    """By table: which rows are of the ids `$1`; by default those with such a `customer_id`."""
    given: Callable[[Sequence[str]], Sequence[Any]] = list
    """What `$1` of the conditions is, by the ids; by default the ids."""
    readers: Mapping[str, Callable[[Row], Any]] = field(default_factory=dict)
    """By column: what makes it readable, given the whole row; by default `readable`."""

    @property
    def about(self) -> str:
        """What holds for every field, in words."""
        return ABOUT.format(currency=self.currency)

    def columns(self, table: sa.Table) -> list[str]:
        """Returns the columns of a table that are exported."""
        return [column.name for column in table.c if column.name not in self.omitted]

    def described(self, table: str) -> dict[str, Any]:
        """Returns what a table and each of its fields hold, in words."""
        (found,) = (each for each in self.tables if each.name == table)
        names = self.columns(found)
        words = {n: self.fields.get(f"{table}.{n}", self.fields.get(n, n)) for n in names}
        return {"meaning": self.meanings.get(table, table), "fields": words}

    async def rows(self, customer_id: str) -> AsyncIterator[tuple[str, Row]]:
        """Read (table, row) of a customer, table by table, from one snapshot.

        A table without an index by customer is scanned: that may take minutes.
        """
        begin = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"
        async with unit_of_work(self.engine, begin) as work:
            await work.driver.execute("SET LOCAL statement_timeout = 0")
            await work.driver.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
            ids = [row[0] for row in await work.driver.fetch(self.ids, customer_id)]
            given = self.given(ids)
            for table in self.tables:
                names = self.columns(table)
                columns = ", ".join(f'"{name}"' for name in names)
                where = self.conditions.get(table.name, "customer_id = ANY($1::text[])")
                query = f"SELECT {columns} FROM {table.fullname} WHERE {where}"  # noqa: S608 (ours)
                cursor = await work.driver.cursor(query, given)
                while found := await cursor.fetch(ROWS_AT_ONCE):
                    for row in found:
                        yield table.name, self._readable(dict(row))

    def _readable(self, row: Row) -> Row:
        read = self.readers
        return {n: read[n](row) if n in read else readable(value) for n, value in row.items()}


def customer_tables(metadata: sa.MetaData, meanings: Collection[str]) -> list[sa.Table]:
    """Returns the tables with rows of customers, in the order of `meanings`, others at the end.

    Also those without a `customer_id` that `meanings` names. The marks of erasures belong to no
    customer.
    """
    order = list(meanings)
    found = [
        t
        for t in metadata.tables.values()
        if t.name in order or ("customer_id" in t.c and t.name != "erasure")
    ]
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
    if isinstance(value, list):
        return [readable(each) for each in value]
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
