"""`Idempotency-Key`: a repeated request gets the same answer and is carried out once.

The answer is stored in the transaction of the effect, so there is never one without the other.
"""

import hashlib
from collections.abc import Awaitable, Callable

from fastapi import HTTPException, Response
from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncEngine

from shared.http.holder import Holder
from shared.http.idempotency import FORGET_MAX, KEPT
from shared.postgres.engine import UnitOfWork, unit_of_work
from shared.runtime.clock import Clock


class IdempotencyKey:
    """Carries out requests of token holders, each key once."""

    def __init__(self, engine: AsyncEngine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    async def __call__(
        self,
        holder: Holder,
        key: str | None,
        request: str,
        work_on: Callable[[UnitOfWork], Awaitable[BaseModel]],
    ) -> Response:
        """Return the answer of `work_on`, or the earlier answer to the same `request`.

        Keys belong to a token by its id, since two tokens may have the same name. Raises 409 when
        the key was used for another request.
        """
        owner = holder.key
        async with unit_of_work(self._engine) as work:
            if key is None:
                return _json((await work_on(work)).model_dump_json().encode())
            digest = hashlib.sha256(request.encode()).digest()
            await work.driver.execute(
                "SELECT pg_advisory_xact_lock(hashtextextended($1, 1))", f"{owner}\n{key}"
            )
            row = await work.driver.fetchrow(
                "SELECT digest, body FROM alerts.idempotency WHERE holder = $1 AND key = $2 "
                "AND created_at > $3",
                owner,
                key,
                self._clock.now() - KEPT,
            )
            if row is not None:
                if row["digest"] != digest:
                    raise HTTPException(409, "this Idempotency-Key was used for another request")
                return _json(row["body"])
            body = (await work_on(work)).model_dump_json().encode()
            await self._remember(work, owner, key, digest, body)
            return _json(body)

    async def _remember(
        self, work: UnitOfWork, owner: str, key: str, digest: bytes, body: bytes
    ) -> None:
        now = self._clock.now()
        await work.driver.execute(
            "DELETE FROM alerts.idempotency i USING (SELECT holder, key FROM alerts.idempotency "
            "WHERE created_at <= $1 LIMIT $2 FOR UPDATE SKIP LOCKED) o "
            "WHERE i.holder = o.holder AND i.key = o.key",
            now - KEPT,
            FORGET_MAX,
        )
        await work.driver.execute(
            "INSERT INTO alerts.idempotency (holder, key, digest, status, body, created_at) "
            "VALUES ($1, $2, $3, 200, $4, $5)",
            owner,
            key,
            digest,
            body,
            now,
        )


def _json(body: bytes) -> Response:
    return Response(body, media_type="application/json")
