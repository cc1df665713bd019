"""Scoring's real tables for the tests: with claims, a recording relay, and queries."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import numpy as np
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from services.scoring.core.features.compute import features
from services.scoring.core.features.state import FEATURE_SET, from_bytes
from services.scoring.store import value_tables  # noqa: F401 (adds its tables to `metadata`)
from services.scoring.store.batch import BatchStore
from services.scoring.store.classification import ClassificationTable
from services.scoring.store.models import ModelRow, Models
from services.scoring.store.tables import SCHEMA, metadata
from shared.kafka.producer import Producer, Record
from shared.kafka.relay import Relay
from shared.postgres.engine import UnitOfWork, unit_of_work
from shared.postgres.ledger import Claim, Ledger
from shared.postgres.ledger import TopicPartition as Tp
from shared.postgres.outbox import Message, Outbox, Pending


class PostgresStore(BatchStore):
    """The store with the ledger that goes with it."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.ledger = Ledger(engine, SCHEMA)
        self.standings = ClassificationTable()
        super().__init__(engine, self.ledger, Outbox(SCHEMA))

    async def take_over(self, tp: Tp) -> Claim:
        """Raise the epoch."""
        return await self.ledger.take_over(tp, "test")


class _Memory(Producer):
    def __init__(self) -> None:
        self.sent: list[Record] = []

    async def send(self, records: Iterable[Record]) -> None:
        self.sent += records

    async def close(self) -> None:
        pass


class Relayed:
    """The real relay and outbox in front of a producer that keeps what it is given."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._producer = _Memory()
        self._relay = Relay(engine, Outbox(SCHEMA), self._producer)

    @property
    def sent(self) -> list[Message]:
        """Return what was sent, in order, of all partitions."""
        return [Message(("", 0), r.topic, r.key, r.value, r.headers) for r in self._producer.sent]

    async def forget(self, work: UnitOfWork) -> None:
        """Delete what was sent, within the transaction."""
        await self._relay.forget(work)

    async def flush(self, pending: Sequence[Pending]) -> None:
        """Send what the transaction stored, after its commit."""
        await self._relay.flush(pending)

    async def recover(self, claim: Claim) -> None:
        """Send what a former owner of the partition left."""
        await self._relay.recover(claim)


async def promoted(models: Models, version: str, digest: str, at: datetime) -> None:
    """Register a model with a horizon of 28 days and promote it."""
    row = ModelRow(
        version=version, digest=digest, feature_set=FEATURE_SET, horizon_days=28, created_at=at
    )
    await models.register(row)
    await models.promote(version, "a test", at)


async def table(engine: AsyncEngine, name: str) -> list[dict[str, Any]]:
    """Return every row of one of scoring's tables, ordered by all of its columns."""
    found = metadata.tables[f"{SCHEMA}.{name}"]
    async with unit_of_work(engine) as work:
        rows = await work.connection.execute(sa.select(found).order_by(*found.columns))
        return [dict(row) for row in rows.mappings()]


async def assessments(engine: AsyncEngine) -> list[dict[str, Any]]:
    """Return the current assessments in the order of customers.

    With each come the features that follow from the state at the time of the assessment.
    """
    rows = [r for r in await table(engine, "customer_state") if r["revision"] is not None]
    states = from_bytes([row["state"] for row in rows])
    x = features(states, np.array([row["assessed_at"].timestamp() for row in rows]))
    return [
        {**row, "feature_set": row["assessed_feature_set"], "features": found.tobytes()}
        for row, found in zip(rows, x, strict=True)
    ]


async def counts(engine: AsyncEngine) -> dict[str, int]:
    """Return the number of rows of each of scoring's tables."""
    async with unit_of_work(engine) as work:
        return {
            t.name: (
                await work.connection.execute(sa.select(sa.func.count()).select_from(t))
            ).scalar_one()
            for t in metadata.sorted_tables
        }
