"""The ledger: which worker may write for which partition, and its offset (fencing).

The offsets here are authoritative; those in Kafka only feed lag displays. A worker claims a
partition by raising its epoch; every later transaction advances the offset only if the epoch and
the old offset are unchanged. A worker that lost a partition without noticing it therefore cannot
commit.
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import asyncpg
import orjson
import sqlalchemy as sa
import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from shared.postgres.engine import UnitOfWork, unit_of_work
from shared.postgres.statements import execute, fetch
from shared.postgres.unfinished import Unfinished

BLOCKED_SECONDS_MAX = 2.0
"""How long a take-over waits for another session's row lock before it ends that session. A healthy
batch holds the row for tens of milliseconds; a worker stopped in mid-transaction holds it until
its backend is terminated."""

log = structlog.get_logger(__name__)

TopicPartition = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Identifies the last consumed record, to notice a log that is not the one we read."""

    timestamp_ms: int
    digest: bytes
    """blake2b-16 over key and value."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A partition that this worker owns, under `epoch`."""

    topic: str
    partition: int
    epoch: int
    next_offset: int | None
    """None: nothing was ever consumed; begin at the log's start."""
    fingerprint: Fingerprint | None
    progress: dict[str, Any] = field(default_factory=dict)
    """What the service stores per partition beside the offset (its clock, for example)."""
    status: Literal["running", "stopped"] = "running"
    status_reason: str | None = None
    waits: bool = False
    """True: the partition was added, and the older ones are not yet read to their recorded ends."""

    @property
    def tp(self) -> TopicPartition:
        """(topic, partition)."""
        return self.topic, self.partition


@dataclass(frozen=True, slots=True)
class Move:
    """One partition's step forward, to be committed with the effects of its records."""

    claim: Claim
    next_offset: int | None
    fingerprint: Fingerprint | None
    progress: dict[str, Any]

    def done(self) -> Claim:
        """Return the claim as it is once the transaction is committed."""
        return replace(
            self.claim,
            next_offset=self.next_offset,
            fingerprint=self.fingerprint,
            progress=self.progress,
        )


class Fenced(Exception):  # noqa: N818
    """Another worker owns these partitions now: drop them, never retry."""

    def __init__(self, lost: frozenset[TopicPartition]) -> None:
        super().__init__(f"another worker owns {sorted(lost)}")
        self.lost = lost


def partition_table(metadata: sa.MetaData) -> sa.Table:
    """Builds the ledger's table in a service's schema."""
    return sa.Table(
        "partition",
        metadata,
        sa.Column("topic", sa.Text, primary_key=True),
        sa.Column("partition", sa.Integer, primary_key=True),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("next_offset", sa.BigInteger),
        sa.Column("fingerprint_ms", sa.BigInteger),
        sa.Column("fingerprint_digest", sa.LargeBinary),
        sa.Column("progress", sa.Text, nullable=False, server_default="{}"),
        sa.Column("status", sa.Text, nullable=False, server_default="running"),
        sa.Column("status_reason", sa.Text),
        sa.Column("worker", sa.Text, nullable=False),
        sa.Column("claimed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("moved_at", sa.DateTime(timezone=True)),
        sa.Column("drain_to", sa.BigInteger),
        sa.Column("waits", sa.Boolean, nullable=False, server_default="false"),
        # Updated by every batch: room for HOT updates on the page.
        postgresql_with={"fillfactor": 20},
    )


class Ledger:
    """Statements on one schema's `partition` table."""

    def __init__(self, engine: AsyncEngine, schema: str) -> None:
        self._engine = engine
        self._schema = schema
        self.unfinished = Unfinished(engine, schema)

    async def take_over(self, tp: TopicPartition, worker: str) -> Claim:
        """Raise the epoch and read where to go on; ends a session that holds the row.

        Raises Transient when PostgreSQL is unreachable.
        """
        async with unit_of_work(self._engine) as work:
            claiming = asyncio.create_task(self._claim(work, tp, worker))
            try:
                done, _ = await asyncio.wait({claiming}, timeout=BLOCKED_SECONDS_MAX)
                if not done:
                    await self._end_blockers(work.driver.get_server_pid())
                return await claiming
            except BaseException:
                # The session must be idle before its transaction can be rolled back.
                claiming.cancel()
                with contextlib.suppress(asyncio.CancelledError, Exception):
                    await claiming
                raise

    async def _claim(self, work: UnitOfWork, tp: TopicPartition, worker: str) -> Claim:
        row = await work.driver.fetchrow(
            f"""
            INSERT INTO {self._schema}.partition AS p (topic, partition, epoch, worker, claimed_at)
            VALUES ($1, $2, 1, $3, now())
            ON CONFLICT (topic, partition) DO UPDATE
               SET epoch = p.epoch + 1, worker = excluded.worker, claimed_at = now()
            RETURNING *
            """,  # noqa: S608 (the schema is a constant of the service)
            *tp,
            worker,
        )
        if row is None:
            raise AssertionError("an upsert returned no row")
        waits = row["waits"] and not await self._drained(work, tp[0])
        return _claim_of(row, waits=waits)

    async def _drained(self, work: UnitOfWork, topic: str) -> bool:
        """Let a topic's new partitions begin if the old ones are drained; return whether it did."""
        released = await work.driver.fetch(
            f"""
            UPDATE {self._schema}.partition SET waits = false
             WHERE topic = $1 AND waits AND NOT EXISTS (
                   SELECT FROM {self._schema}.partition old
                    WHERE old.topic = $1 AND NOT old.waits
                      AND old.drain_to > coalesce(old.next_offset, 0))
            RETURNING partition
            """,  # noqa: S608
            topic,
        )
        return bool(released)

    async def known(self, topic: str) -> set[int]:
        """Return the partitions noted for the topic; empty: none were noted yet."""
        rows = await fetch(
            self._engine,
            f"SELECT partition FROM {self._schema}.partition WHERE topic = $1",  # noqa: S608
            topic,
        )
        return {row["partition"] for row in rows}

    async def grow(self, topic: str, count: int, ends: Mapping[int, int]) -> None:
        """Note that the topic has `count` partitions.

        New ones wait until each older one in `ends` is read to there; at the first time there are
        no older ones, and none waits. Of several workers the first one's ends count; the others
        change nothing.
        """
        async with unit_of_work(self._engine) as work:
            # Against another worker that notes the same at the same time.
            lock = "SELECT pg_advisory_xact_lock(hashtext($1), hashtext($2))"
            await work.driver.execute(lock, self._schema, topic)
            added = await work.driver.fetch(
                f"""
                INSERT INTO {self._schema}.partition
                       (topic, partition, epoch, worker, claimed_at, waits)
                SELECT $1, n, 0, '', now(),
                       EXISTS (SELECT FROM {self._schema}.partition WHERE topic = $1)
                  FROM generate_series(0, $2::int - 1) n
                ON CONFLICT DO NOTHING RETURNING partition
                """,  # noqa: S608
                topic,
                count,
            )
            if added and ends:
                await work.driver.execute(
                    f"UPDATE {self._schema}.partition p SET drain_to = e.until "  # noqa: S608
                    "FROM unnest($2::int[], $3::bigint[]) AS e(partition, until) "
                    "WHERE p.topic = $1 AND p.partition = e.partition AND NOT p.waits",
                    topic,
                    list(ends),
                    list(ends.values()),
                )

    async def drained(self, claim: Claim, reached: int | None) -> None:
        """Note that there is nothing to read between the claim's offset and `reached`.

        A recorded end in between counts as reached, and new partitions need not wait for it.
        """
        await execute(
            self._engine,
            f"UPDATE {self._schema}.partition SET drain_to = next_offset "  # noqa: S608
            "WHERE topic = $1 AND partition = $2 AND epoch = $3 "
            "AND drain_to > coalesce(next_offset, 0) AND drain_to <= $4",
            *claim.tp,
            claim.epoch,
            reached,
        )

    async def _end_blockers(self, pid: int) -> None:
        ended = await fetch(
            self._engine,
            """
            SELECT a.pid, a.application_name, pg_terminate_backend(a.pid) AS ended
              FROM unnest(pg_blocking_pids($1)) AS b(pid) JOIN pg_stat_activity a USING (pid)
             WHERE a.application_name LIKE 'ebbwatch-%'
            """,
            pid,
        )
        for row in ended:
            log.warning("ended a session that held a partition", **dict(row))

    async def advance(self, work: UnitOfWork, moves: Sequence[Move]) -> None:
        """Move every offset, or raise Fenced for those that are no longer ours: the fence.

        Call it in the transaction of the effects, before any locking write; if there is a COPY,
        after it.
        """
        if not moves:
            return
        ordered = sorted(moves, key=lambda m: m.claim.tp)
        rows = await work.driver.fetch(
            f"""
            WITH v AS (
              SELECT * FROM unnest($1::text[], $2::int[], $3::bigint[], $4::bigint[], $5::bigint[],
                                   $6::bigint[], $7::bytea[], $8::text[])
                AS v(topic, partition, epoch, old_offset, next_offset, ms, digest, progress)
            ), held AS (
              SELECT p.topic, p.partition FROM {self._schema}.partition p
                JOIN v USING (topic, partition) ORDER BY 1, 2 FOR UPDATE OF p
            )
            UPDATE {self._schema}.partition p
               SET next_offset = v.next_offset, fingerprint_ms = v.ms,
                   fingerprint_digest = v.digest, progress = v.progress,
                   moved_at = clock_timestamp()
              FROM v JOIN held USING (topic, partition)
             WHERE p.topic = v.topic AND p.partition = v.partition AND p.epoch = v.epoch
               AND p.next_offset IS NOT DISTINCT FROM v.old_offset AND p.status = 'running'
            RETURNING p.topic, p.partition
            """,  # noqa: S608
            [m.claim.topic for m in ordered],
            [m.claim.partition for m in ordered],
            [m.claim.epoch for m in ordered],
            [m.claim.next_offset for m in ordered],
            [m.next_offset for m in ordered],
            [m.fingerprint.timestamp_ms if m.fingerprint else None for m in ordered],
            [m.fingerprint.digest if m.fingerprint else None for m in ordered],
            [orjson.dumps(m.progress).decode() for m in ordered],
        )
        moved = {(row["topic"], row["partition"]) for row in rows}
        lost = frozenset(m.claim.tp for m in ordered) - moved
        if lost:
            raise Fenced(lost)
        await self.unfinished.clear(work, {m.claim.tp: m.next_offset or 0 for m in ordered})

    async def stop(self, claim: Claim, reason: str) -> None:
        """Stop a partition until an operator decides; only under the claim's own epoch."""
        await execute(
            self._engine,
            f"UPDATE {self._schema}.partition SET status = 'stopped', status_reason = $4 "  # noqa: S608
            "WHERE topic = $1 AND partition = $2 AND epoch = $3",
            *claim.tp,
            claim.epoch,
            reason,
        )

    async def list_all(self) -> list[dict[str, Any]]:
        """Return every partition's row, for operators."""
        rows = await fetch(
            self._engine,
            f"SELECT * FROM {self._schema}.partition ORDER BY topic, partition",  # noqa: S608
        )
        return [dict(row) for row in rows]

    async def reset(self, tp: TopicPartition, next_offset: int | None) -> bool:
        """Carry out an operator's decision to go on from `next_offset` (None: the log's start).

        Raises the epoch, so that the present owner of the partition is fenced and claims anew, and
        forgets the fingerprint. False when there is no such partition.
        """
        async with unit_of_work(self._engine) as work:
            row = await work.driver.fetchrow(
                f"""
                UPDATE {self._schema}.partition
                   SET epoch = epoch + 1, next_offset = $3, fingerprint_ms = NULL,
                       fingerprint_digest = NULL, status = 'running', status_reason = NULL
                 WHERE topic = $1 AND partition = $2 RETURNING partition
                """,  # noqa: S608
                *tp,
                next_offset,
            )
            await self.unfinished.forget(work, tp)
        return row is not None

    async def amend(self, topic: str, change: Callable[[dict[str, Any]], None]) -> None:
        """Carry out an operator's change of the progress of a topic's partitions.

        Raises the epoch of each: its owner is fenced before it writes its own progress again, and
        claims anew.
        """
        async with unit_of_work(self._engine) as work:
            rows = await work.driver.fetch(
                f"SELECT partition, progress FROM {self._schema}.partition "  # noqa: S608
                "WHERE topic = $1 ORDER BY partition FOR UPDATE",
                topic,
            )
            for row in rows:
                progress = orjson.loads(row["progress"])
                change(progress)
                await work.driver.execute(
                    f"UPDATE {self._schema}.partition SET epoch = epoch + 1, progress = $3 "  # noqa: S608
                    "WHERE topic = $1 AND partition = $2",
                    topic,
                    row["partition"],
                    orjson.dumps(progress).decode(),
                )

    async def forget(self, tp: TopicPartition) -> bool:
        """Forget a partition that an operator declares gone; False where it was not known."""
        async with unit_of_work(self._engine) as work:
            row = await work.driver.fetchrow(
                f"DELETE FROM {self._schema}.partition WHERE topic = $1 AND partition = $2 "  # noqa: S608
                "RETURNING partition",
                *tp,
            )
        return row is not None


def _claim_of(row: "asyncpg.Record", *, waits: bool) -> Claim:
    digest = row["fingerprint_digest"]
    return Claim(
        topic=row["topic"],
        partition=row["partition"],
        epoch=row["epoch"],
        next_offset=row["next_offset"],
        fingerprint=Fingerprint(row["fingerprint_ms"], digest) if digest is not None else None,
        progress=orjson.loads(row["progress"]),
        status=row["status"],
        status_reason=row["status_reason"],
        waits=waits,
    )
