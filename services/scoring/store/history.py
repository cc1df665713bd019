"""Reads for people and for training: one customer's picture, and all stored events."""

from collections.abc import AsyncIterator
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from services.scoring.store.tables import assessment, assessment_history, customer_state
from services.scoring.store.tables import profile as profile_table
from shared.postgres.engine import unit_of_work

EVENTS_AT_ONCE = 50_000
"""Events read per chunk for training: about 25 MB."""

HISTORY_ROWS_MAX = 100
"""Published assessments shown at once."""


class History:
    """Read-only statements on scoring's tables."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def customer(self, customer_id: str) -> dict[str, Any] | None:
        """State, current assessment and profile of a customer, as stored; None if unknown."""
        query = (
            sa.select(
                customer_state.c.state,
                customer_state.c.feature_set.label("state_feature_set"),
                assessment,
                profile_table.c.profile,
            )
            .select_from(customer_state)
            .outerjoin(assessment, assessment.c.customer_id == customer_state.c.customer_id)
            .outerjoin(profile_table, profile_table.c.customer_id == customer_state.c.customer_id)
            .where(customer_state.c.customer_id == customer_id)
        )
        async with unit_of_work(self._engine) as work:
            row = (await work.connection.execute(query)).mappings().one_or_none()
        return None if row is None else dict(row)

    async def published(self, customer_id: str) -> list[bytes]:
        """The newest risk messages about a customer, newest first."""
        h = assessment_history
        query = sa.select(h.c.message).where(h.c.customer_id == customer_id)
        query = query.order_by(h.c.assessed_at.desc(), h.c.revision.desc()).limit(HISTORY_ROWS_MAX)
        async with unit_of_work(self._engine) as work:
            return list((await work.connection.execute(query)).scalars())

    async def events(self) -> AsyncIterator[list[bytes]]:
        """Every stored event's payload, in chunks, in no particular order."""
        async with unit_of_work(self._engine) as work:
            await work.driver.execute("SET LOCAL statement_timeout = 0")
            await work.driver.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
            cursor = await work.driver.cursor("SELECT payload FROM scoring.event")
            while rows := await cursor.fetch(EVENTS_AT_ONCE):
                yield [row["payload"] for row in rows]
