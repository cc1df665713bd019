"""Reads what a service's metrics show of its database, on a connection of its own.

A connection of the pool is not used: batches that wait for a lock may hold all of them.
"""

import contextlib
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Final

import asyncpg

from shared.postgres.engine import Driver
from shared.postgres.ledger import TopicPartition
from shared.postgres.settings import PostgresSettings

ANSWER_S_MAX: Final = 5.0
"""Seconds until a query counts as lost with its connection."""

SIZE_S: Final = 60.0
"""Seconds between two readings of the database's size, which looks at every file of it."""

_LEDGER: Final = "SELECT topic, partition, next_offset, moved_at FROM {schema}.partition"

# A row that was sent stays until its owner's next transaction; only the owner knows of it.
# Of a parcel only the head is read: MessagePack's array of at most 15, 65,535 or more messages.
_OUTBOX: Final = """
SELECT min(id) AS oldest, coalesce(sum(
         CASE WHEN get_byte(head, 0) = 220 THEN get_byte(head, 1) * 256 + get_byte(head, 2)
              WHEN get_byte(head, 0) = 221 THEN ((get_byte(head, 1) * 256 + get_byte(head, 2)) * 256
                                                 + get_byte(head, 3)) * 256 + get_byte(head, 4)
              ELSE get_byte(head, 0) - 144 END), 0) AS messages
  FROM (SELECT id, substr(messages, 1, 5) AS head FROM {schema}.outbox
         WHERE id <> ALL($1::bigint[])
           AND (cause_topic <> ALL($2::text[]) OR (cause_topic, cause_partition) IN (
                SELECT * FROM unnest($3::text[], $4::int[])))) parcels
"""


@dataclass(slots=True)
class DatabaseFigures:
    """What was read last."""

    offsets: dict[TopicPartition, tuple[int | None, object]] = field(default_factory=dict)
    """Of each partition of the ledger: the next offset, and a mark that changes with a commit."""
    skew_s: float | None = None
    """The server's clock minus ours, in seconds."""
    outbox_messages: int = 0
    outbox_since_s: float | None = None
    """Monotonic time since which the oldest row of the outbox is seen; None: the outbox is
    empty."""
    size_bytes: int | None = None


class DatabaseWatch:
    """Use: `read` from time to time, `close` at the end or after any error."""

    def __init__(
        self,
        settings: PostgresSettings,
        schema: str,
        *,
        outbox: bool,
        monotonic: Callable[[], float],
        unix: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._schema = schema
        self._outbox = outbox
        self._monotonic = monotonic
        self._unix = unix
        self._connection: Driver | None = None
        self._oldest: int | None = None
        self._sized_s = -SIZE_S
        self.figures = DatabaseFigures()

    async def read(
        self, topics: Collection[str], owned: Collection[TopicPartition], sent: Collection[int]
    ) -> None:
        """Bring the figures up to date.

        Of the outbox count the messages that partitions of `topics` caused which this process owns,
        and those of other causes; not the rows `sent`.

        Raises one of `shared.postgres.engine.TROUBLE`.
        """
        driver = await self._connected()
        found = self.figures
        rows = await driver.fetch(_LEDGER.format(schema=self._schema), timeout=ANSWER_S_MAX)
        found.offsets = {
            (row["topic"], row["partition"]): (row["next_offset"], row["moved_at"]) for row in rows
        }
        asked_s = self._unix()
        clock = "SELECT extract(epoch FROM clock_timestamp())::float8"
        theirs_s: float = await driver.fetchval(clock, timeout=ANSWER_S_MAX)
        found.skew_s = theirs_s - (asked_s + self._unix()) / 2
        if self._outbox:
            await self._read_outbox(driver, topics, owned, sent)
        if self._monotonic() - self._sized_s >= SIZE_S:
            size = "SELECT pg_database_size(current_database())"
            found.size_bytes = await driver.fetchval(size, timeout=ANSWER_S_MAX)
            self._sized_s = self._monotonic()

    async def _read_outbox(
        self,
        driver: Driver,
        topics: Collection[str],
        owned: Collection[TopicPartition],
        sent: Collection[int],
    ) -> None:
        row = await driver.fetchrow(
            _OUTBOX.format(schema=self._schema),
            list(sent),
            list(topics),
            [topic for topic, _ in owned],
            [partition for _, partition in owned],
            timeout=ANSWER_S_MAX,
        )
        if row is None:
            raise AssertionError("an aggregate returned no row")
        self.figures.outbox_messages = row["messages"]
        if row["oldest"] is None:
            self.figures.outbox_since_s = None
        elif row["oldest"] != self._oldest:
            self.figures.outbox_since_s = self._monotonic()
        self._oldest = row["oldest"]

    async def _connected(self) -> Driver:
        if self._connection is None or self._connection.is_closed():
            self._connection = await asyncpg.connect(
                self._settings.url.get_secret_value(),
                timeout=ANSWER_S_MAX,
                server_settings={
                    "application_name": f"ebbwatch-{self._schema}-watch",
                    "statement_timeout": str(int(ANSWER_S_MAX * 1000)),
                },
            )
        return self._connection

    def close(self) -> None:
        """Close the connection at once: nothing has to be finished on it."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(OSError):
                connection.terminate()
