"""The registry of models: which exist, and which one serves (the one promoted last)."""

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncEngine

from services.scoring.store.tables import model
from shared.postgres.engine import unit_of_work


@dataclass(frozen=True, slots=True)
class ModelRow:
    """A registered model; `digest` is its address in the artefact store."""

    version: str
    digest: str
    feature_set: int
    horizon_days: int
    created_at: datetime
    promoted_at: datetime | None
    report: str


class Models:
    """Statements on `scoring.model`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def register(self, row: ModelRow) -> None:
        """Add a model, or promote again one that is there (content-addressed: the same)."""
        values = {name: getattr(row, name) for name in ModelRow.__slots__}
        statement = insert(model).values(**values)
        statement = statement.on_conflict_do_update(
            index_elements=[model.c.version], set_={"promoted_at": row.promoted_at}
        )
        async with unit_of_work(self._engine) as work:
            await work.connection.execute(statement)

    async def serving(self) -> ModelRow | None:
        """The model promoted last; None while there is none."""
        query = sa.select(model).where(model.c.promoted_at.is_not(None))
        query = query.order_by(model.c.promoted_at.desc()).limit(1)
        async with unit_of_work(self._engine) as work:
            found = (await work.connection.execute(query)).mappings().one_or_none()
        return None if found is None else ModelRow(**found)

    async def list_all(self) -> list[ModelRow]:
        """Every registered model, oldest first."""
        async with unit_of_work(self._engine) as work:
            rows = await work.connection.execute(sa.select(model).order_by(model.c.created_at))
            return [ModelRow(**row) for row in rows.mappings()]
