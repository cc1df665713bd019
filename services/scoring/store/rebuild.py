"""SQL of a rebuild: reads customers with outdated states and their events, writes new states."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from sqlalchemy.ext.asyncio import AsyncEngine

from services.scoring.core.features.state import FEATURE_SET
from shared.kernel.errors import Transient
from shared.postgres.engine import unit_of_work
from shared.postgres.statements import execute, fetch, fetch_in_chunks, fetch_value

EVENTS_AT_ONCE = 5_000
"""Events read and folded at once: about 2 MB."""

LOCK = 0x72656275
"""'rebu': advisory lock that allows one rebuild at a time."""

_EVENTS = """
SELECT s.customer_id, e.payload
  FROM scoring.event e LEFT JOIN scoring.member m ON m.customer_id = e.original_customer_id
  JOIN scoring.customer_state s ON s.customer_id = CASE
         WHEN m.account IS NOT NULL AND e.customer_id <> e.original_customer_id THEN e.customer_id
         ELSE coalesce(m.primary_id, e.original_customer_id) END
"""
"""Events with the customer that each belongs to by now (`history`)."""

REASON = "states are being rebuilt; if this stays, run `python -m services.scoring rebuild` again"

_OURS = "s.feature_set <> $1 AND mod(hashtext(s.customer_id)::bigint + 2147483648, $3) = $2"


class Rebuilding:
    """Statements of a rebuild."""

    def __init__(self, engine: AsyncEngine, topic: str) -> None:
        self._engine = engine
        self._topic = topic

    @asynccontextmanager
    async def stopped(self) -> AsyncIterator[None]:
        """Stops every running partition of the topic, and resumes them after a successful block.

        Raises Transient while another rebuild is running.
        """
        async with self._engine.connect() as connection:
            raw = (await connection.get_raw_connection()).driver_connection
            if raw is None or not await raw.fetchval("SELECT pg_try_advisory_lock($1)", LOCK):
                raise Transient("another rebuild is at work")
            try:
                # The update waits for the partitions' locks, so running transactions end first.
                await raw.execute(
                    "UPDATE scoring.partition SET epoch = epoch + 1, status = 'stopped', "
                    "status_reason = $2 WHERE topic = $1 AND status = 'running'",
                    self._topic,
                    REASON,
                )
                yield
                await raw.execute(
                    "UPDATE scoring.partition SET status = 'running', status_reason = NULL "
                    "WHERE topic = $1 AND status_reason = $2",
                    self._topic,
                    REASON,
                )
            finally:
                await raw.execute("SELECT pg_advisory_unlock($1)", LOCK)

    async def outdated(self) -> int:
        """Counts customers with a state of another feature set."""
        found: int = await fetch_value(
            self._engine,
            "SELECT count(*) FROM scoring.customer_state WHERE feature_set <> $1",
            FEATURE_SET,
        )
        return found

    async def customers(self, part: int, parts: int) -> list[str]:
        """Reads the customers of one slice."""
        rows = await fetch(
            self._engine,
            f"SELECT s.customer_id FROM scoring.customer_state s WHERE {_OURS}",  # noqa: S608
            FEATURE_SET,
            part,
            parts,
        )
        return [row["customer_id"] for row in rows]

    def events(self, part: int, parts: int) -> AsyncIterator[Sequence[tuple[str, bytes]]]:
        """Reads (customer, payload) of all stored events of one slice, in no particular order."""
        query = f"{_EVENTS} WHERE {_OURS}"
        return fetch_in_chunks(self._engine, EVENTS_AT_ONCE, query, FEATURE_SET, part, parts)

    async def members(self) -> list[tuple[str, str]]:
        """Reads (id, primary id) of all customers with several ids, where a state is outdated."""
        rows = await fetch(
            self._engine,
            "SELECT customer_id, primary_id FROM scoring.member WHERE primary_id IN "
            "(SELECT primary_id FROM scoring.member WHERE feature_set <> $1)",
            FEATURE_SET,
        )
        return [(row["customer_id"], row["primary_id"]) for row in rows]

    def member_events(self) -> AsyncIterator[Sequence[tuple[str, bytes]]]:
        """Reads (id that it came with, payload) of all stored events of these."""
        query = (
            "SELECT e.original_customer_id, e.payload FROM scoring.event e "
            "JOIN scoring.member m ON m.customer_id = e.original_customer_id "
            "WHERE m.feature_set <> $1"
        )
        return fetch_in_chunks(self._engine, EVENTS_AT_ONCE, query, FEATURE_SET)

    async def put_members(self, states: Sequence[tuple[str, bytes]]) -> None:
        """Replaces the own states of ids of customers with several."""
        await execute(
            self._engine,
            "UPDATE scoring.member m SET own_state = n.state, feature_set = $3 "
            "FROM unnest($1::text[], $2::bytea[]) AS n(customer_id, state) "
            "WHERE m.customer_id = n.customer_id",
            [name for name, _ in states],
            [state for _, state in states],
            FEATURE_SET,
        )

    async def put(self, states: Sequence[tuple[str, bytes]]) -> None:
        """Replaces the outdated states with the new ones."""
        async with unit_of_work(self._engine) as work:
            await work.driver.execute(
                "CREATE TEMP TABLE made (customer_id text, state bytea) ON COMMIT DROP"
            )
            await work.driver.copy_records_to_table("made", records=states)
            await work.driver.execute(
                "UPDATE scoring.customer_state s SET state = m.state, feature_set = $1 "
                "FROM made m WHERE s.customer_id = m.customer_id",
                FEATURE_SET,
            )
