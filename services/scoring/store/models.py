"""The registry of models: which exist, which one serves, which one challenges it.

What serves is the last row of the log of promotions; nothing of the log is ever changed.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncEngine

from services.scoring.store.tables import model, model_promotion
from shared.contracts.risk import Method
from shared.kernel.errors import Invalid
from shared.postgres.engine import UnitOfWork, unit_of_work

LOCK: Final = 0x6D6F64656C
"""'model': the advisory lock under which promotions follow one another."""
TRAINING_LOCK: Final = 0x7265747261696E
"""'retrain': held while a model is being trained."""
FALLBACK: Final = "the rule"
"""How a promotion log calls what serves without a model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRow:
    """A registered model; `digest` is its address in the artefact store."""

    version: str
    digest: str
    method: Method = "model"
    feature_set: int
    horizon_days: int
    created_at: datetime
    data_fingerprint: str = ""
    passed: bool = True
    """The gate's word."""
    gate: str = "{}"
    """The gate's whole decision, JSON."""
    report: str = "{}"
    reference_digest: str | None = None
    """Address of a sample of the rows it learned from: what drift is measured against."""
    shadow_since: datetime | None = None
    trained_at: datetime | None = None
    """When it was last learned anew, which gives the same version while nothing has changed."""


@dataclass(frozen=True, slots=True)
class Promotion:
    """One line of the log; `version` None is the rule."""

    id: int
    at: datetime
    version: str | None
    action: str
    reason: str
    before_id: int | None


class Models:
    """Statements on `scoring.model` and `scoring.model_promotion`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def register(self, row: ModelRow) -> None:
        """Add a model; one that is there (content-addressed: the same) gets the newer verdict."""
        values = {name: getattr(row, name) for name in ModelRow.__slots__}
        statement = insert(model).values(**values)
        changed = {
            name: statement.excluded[name] for name in ("passed", "gate", "report", "trained_at")
        }
        statement = statement.on_conflict_do_update(index_elements=[model.c.version], set_=changed)
        async with unit_of_work(self._engine) as work:
            await work.connection.execute(statement)

    async def find(self, version: str) -> ModelRow:
        """The model of this version, or of the one version that begins so. Raises Invalid."""
        query = sa.select(model).where(model.c.version.startswith(version, autoescape=True))
        async with unit_of_work(self._engine) as work:
            rows = [ModelRow(**r) for r in (await work.connection.execute(query)).mappings()]
        exact = [row for row in rows if row.version == version]
        if exact or len(rows) == 1:
            return (exact or rows)[0]
        found = "several begin so" if rows else "there is none"
        raise Invalid("version", f"{version}: {found}; see `models list`")

    async def serving(self) -> ModelRow | None:
        """The model that serves; None while the rule does."""
        last = sa.select(model_promotion.c.version).order_by(model_promotion.c.id.desc()).limit(1)
        return await self._one(sa.select(model).where(model.c.version == last.scalar_subquery()))

    async def shadow(self) -> ModelRow | None:
        """The challenger; None where there is none."""
        query = sa.select(model).where(model.c.shadow_since.is_not(None))
        return await self._one(query.order_by(model.c.shadow_since.desc()).limit(1))

    async def list_all(self) -> list[ModelRow]:
        """Every registered model, oldest first."""
        async with unit_of_work(self._engine) as work:
            rows = await work.connection.execute(sa.select(model).order_by(model.c.created_at))
            return [ModelRow(**row) for row in rows.mappings()]

    async def last_trained(self) -> datetime | None:
        """When something was last learned, kept or not."""
        async with unit_of_work(self._engine) as work:
            found: datetime | None = await work.driver.fetchval(
                "SELECT max(trained_at) FROM scoring.model"
            )
        return found

    @asynccontextmanager
    async def training(self) -> AsyncIterator[bool]:
        """True for one process at a time, until the block ends or its session does."""
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
        """The log, newest first."""
        query = sa.select(model_promotion).order_by(model_promotion.c.id.desc())
        async with unit_of_work(self._engine) as work:
            return [Promotion(**row) for row in (await work.connection.execute(query)).mappings()]

    async def promote(self, version: str, reason: str, at: datetime) -> None:
        """This model serves from now on; it is no challenger any more."""
        async with unit_of_work(self._engine) as work:
            last = await _last(work)
            await _log(work, version, "promote", reason, at, None if last is None else last.id)
            await work.connection.execute(
                sa.update(model).where(model.c.version == version).values(shadow_since=None)
            )

    async def rollback(self, reason: str, at: datetime) -> Promotion:
        """What served before serves again; returns the new line of the log.

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
        """Make this model the only challenger, or have none."""
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
        async with unit_of_work(self._engine) as work:
            found = (await work.connection.execute(query)).mappings().one_or_none()
        return None if found is None else ModelRow(**found)


async def _last(work: UnitOfWork) -> Promotion | None:
    """The log's last line, under the lock that lets it grow by one line at a time."""
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
