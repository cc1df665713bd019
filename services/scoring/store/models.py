"""Registry of models: which exist, which one serves, which one is the challenger.

The last row of the promotion log names the serving model; rows of the log are never changed.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from services.scoring.store.tables import model, model_promotion
from shared.contracts.risk import Method
from shared.kernel.errors import Invalid
from shared.postgres.engine import UnitOfWork, unit_of_work
from shared.postgres.statements import Statements, fetch_value, select

LOCK: Final = 0x6D6F64656C
"""'model': advisory lock that serializes promotions."""
TRAINING_LOCK: Final = 0x7265747261696E
"""'retrain': advisory lock held while a model is being trained."""
FALLBACK: Final = "the rule"
"""Name of the predictor that serves without a model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRow:
    """Registered model; `digest` is its address in the artefact store."""

    version: str
    digest: str
    method: Method = "model"
    feature_set: int
    horizon_days: int
    created_at: datetime
    data_fingerprint: str = ""
    passed: bool = True
    """Whether the model passed the promotion gate."""
    gate: str = "{}"
    """Complete decision of the promotion gate, JSON."""
    report: str = "{}"
    reference_digest: str | None = None
    """Address of a sample of the training rows, which drift is measured against."""
    shadow_since: datetime | None = None
    trained_at: datetime | None = None
    """Time of the last training; training on unchanged data gives the same version again."""


@dataclass(frozen=True, slots=True)
class Promotion:
    """Row of the promotion log; `version` None is the rule."""

    id: int
    at: datetime
    version: str | None
    action: str
    reason: str
    before_id: int | None


class Models(Statements):
    """Statements on `scoring.model` and `scoring.model_promotion`."""

    async def register(self, row: ModelRow) -> None:
        """Adds a model; a known version (same content) gets the newer gate decision and report."""
        values = {name: getattr(row, name) for name in ModelRow.__slots__}
        statement = insert(model).values(**values)
        changed = {
            name: statement.excluded[name] for name in ("passed", "gate", "report", "trained_at")
        }
        statement = statement.on_conflict_do_update(index_elements=[model.c.version], set_=changed)
        async with unit_of_work(self._engine) as work:
            await work.connection.execute(statement)

    async def find(self, version: str) -> ModelRow:
        """Reads the model of this version, or of the only version with this prefix.

        Raises Invalid where there is none or the prefix is ambiguous."""
        query = sa.select(model).where(model.c.version.startswith(version, autoescape=True))
        rows = [ModelRow(**row) for row in await select(self._engine, query)]
        exact = [row for row in rows if row.version == version]
        if exact or len(rows) == 1:
            return (exact or rows)[0]
        found = "several begin so" if rows else "there is none"
        raise Invalid("version", f"{version}: {found}; see `models list`")

    async def serving(self) -> ModelRow | None:
        """Reads the model that serves; None while the rule serves."""
        last = sa.select(model_promotion.c.version).order_by(model_promotion.c.id.desc()).limit(1)
        return await self._one(sa.select(model).where(model.c.version == last.scalar_subquery()))

    async def shadow(self) -> ModelRow | None:
        """Reads the challenger; None where there is none."""
        query = sa.select(model).where(model.c.shadow_since.is_not(None))
        return await self._one(query.order_by(model.c.shadow_since.desc()).limit(1))

    async def list_all(self) -> list[ModelRow]:
        """Reads every registered model, oldest first."""
        query = sa.select(model).order_by(model.c.created_at)
        return [ModelRow(**row) for row in await select(self._engine, query)]

    async def last_trained(self) -> datetime | None:
        """Reads the time of the last training, whether its model was promoted or not."""
        found: datetime | None = await fetch_value(
            self._engine, "SELECT max(trained_at) FROM scoring.model"
        )
        return found

    @asynccontextmanager
    async def training(self) -> AsyncIterator[bool]:
        """Takes the training lock; yields True for one process at a time.

        The lock ends with the block or the database session."""
        async with self._engine.connect() as connection:
            await connection.execute(sa.text("SET idle_in_transaction_session_timeout = 0"))
            await connection.commit()
            query = sa.text("SELECT pg_try_advisory_lock(:key)")
            got = bool((await connection.execute(query, {"key": TRAINING_LOCK})).scalar_one())
            await connection.commit()
            try:
                yield got
            finally:
                if got:
                    query = sa.text("SELECT pg_advisory_unlock(:key)")
                    await connection.execute(query, {"key": TRAINING_LOCK})
                    await connection.commit()

    async def promotions(self) -> list[Promotion]:
        """Reads the promotion log, newest first."""
        query = sa.select(model_promotion).order_by(model_promotion.c.id.desc())
        return [Promotion(**row) for row in await select(self._engine, query)]

    async def promote(self, version: str, reason: str, at: datetime) -> None:
        """Makes a model serve from now on; it stops being the challenger."""
        async with unit_of_work(self._engine) as work:
            last = await _last(work)
            await _log(work, version, "promote", reason, at, None if last is None else last.id)
            await work.connection.execute(
                sa.update(model).where(model.c.version == version).values(shadow_since=None)
            )

    async def rollback(self, reason: str, at: datetime) -> Promotion:
        """Returns to the predictor that served before; returns the new row of the log.

        Raises Invalid when the rule serves already: there is nothing before it.
        """
        async with unit_of_work(self._engine) as work:
            last = await _last(work)
            if last is None or last.version is None:
                raise Invalid("rollback", f"{FALLBACK} serves: there is nothing before it")
            before = None if last.before_id is None else await _line(work, last.before_id)
            return await _log(
                work,
                None if before is None else before.version,
                "rollback",
                reason,
                at,
                None if before is None else before.before_id,
            )

    async def challenge(self, version: str | None, at: datetime) -> None:
        """Makes this model the only challenger; None removes the challenger."""
        async with unit_of_work(self._engine) as work:
            await work.driver.execute("SELECT pg_advisory_xact_lock($1)", LOCK)
            await work.connection.execute(
                sa.update(model).where(model.c.shadow_since.is_not(None)).values(shadow_since=None)
            )
            if version is not None:
                await work.connection.execute(
                    sa.update(model).where(model.c.version == version).values(shadow_since=at)
                )

    async def _one(self, query: "sa.Select[Any]") -> ModelRow | None:
        rows = await select(self._engine, query)
        return ModelRow(**rows[0]) if rows else None


async def _last(work: UnitOfWork) -> Promotion | None:
    """Reads the log's last row under the lock, so that promotions append one after another."""
    await work.driver.execute("SELECT pg_advisory_xact_lock($1)", LOCK)
    query = sa.select(model_promotion).order_by(model_promotion.c.id.desc()).limit(1)
    found = (await work.connection.execute(query)).mappings().one_or_none()
    return None if found is None else Promotion(**found)


async def _line(work: UnitOfWork, number: int) -> Promotion:
    query = sa.select(model_promotion).where(model_promotion.c.id == number)
    return Promotion(**(await work.connection.execute(query)).mappings().one())


async def _log(
    work: UnitOfWork,
    version: str | None,
    action: str,
    reason: str,
    at: datetime,
    before_id: int | None,
) -> Promotion:
    values = {
        "at": at,
        "version": version,
        "action": action,
        "reason": reason,
        "before_id": before_id,
    }
    statement = insert(model_promotion).values(**values).returning(model_promotion)
    return Promotion(**(await work.connection.execute(statement)).mappings().one())
