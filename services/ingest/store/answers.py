"""SQL statements on the answers to requests with an `Idempotency-Key`."""

from datetime import datetime

from services.ingest.ports import Answer, Claimed
from shared.http.idempotency import FORGET_MAX, KEPT
from shared.postgres.engine import unit_of_work
from shared.postgres.statements import Statements, execute


class StoredAnswers(Statements):
    """Implements `ports.Answers`."""

    async def claim(self, owner: str, key: str, digest: bytes, at: datetime) -> Claimed:
        """Store the key, where it is new or older than `KEPT`; return what is stored for it."""
        async with unit_of_work(self._engine) as work:
            await work.driver.execute(
                "DELETE FROM ingest.idempotency i USING (SELECT owner, key FROM ingest.idempotency "
                "WHERE created_at <= $1 LIMIT $2 FOR UPDATE SKIP LOCKED) o "
                "WHERE i.owner = o.owner AND i.key = o.key",
                at - KEPT,
                FORGET_MAX,
            )
            await work.driver.execute(
                "DELETE FROM ingest.idempotency WHERE owner = $1 AND key = $2 AND created_at <= $3",
                owner,
                key,
                at - KEPT,
            )
            # The update of nothing locks the row, so that it is there to be read.
            row = await work.driver.fetchrow(
                "INSERT INTO ingest.idempotency AS i (owner, key, digest, created_at) "
                "VALUES ($1, $2, $3, $4) "
                "ON CONFLICT (owner, key) DO UPDATE SET key = i.key "
                "RETURNING digest, status, body",
                owner,
                key,
                digest,
                at,
            )
        if row is None:
            raise AssertionError("the row is inserted, or there already")
        done = row["status"] is not None
        return Claimed(row["digest"], Answer(row["status"], row["body"]) if done else None)

    async def store(self, owner: str, key: str, answer: Answer) -> None:
        """Store the answer of a claimed key."""
        await execute(
            self._engine,
            "UPDATE ingest.idempotency SET status = $3, body = $4 WHERE owner = $1 AND key = $2",
            owner,
            key,
            answer.status,
            answer.body,
        )
