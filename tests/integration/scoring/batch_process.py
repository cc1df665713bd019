"""Scoring's batches on real tables, in a process of its own that a planted customer ends."""

import asyncio
from datetime import datetime

from pydantic import SecretStr

from services.scoring.store.tables import SCHEMA
from shared.postgres.engine import create_engine
from shared.postgres.settings import PostgresSettings
from shared.postgres.suspects import Suspects
from tests.fakes import activity
from tests.fakes.scoring_worker import ScoringWorker
from tests.integration.planted_failure import poison
from tests.integration.scoring.postgres import PostgresStore, Relayed

CUSTOMERS = ("ann", "cem", "dee", "poisoned-bob")
WHERE = "services.scoring.handlers.assess_customers:Assessor.__call__"


async def _turns(url: str, ticks: list[datetime]) -> None:
    engine = create_engine(PostgresSettings(url=SecretStr(url)), "test")
    suspects = Suspects(engine, SCHEMA)
    scoring = ScoringWorker(PostgresStore(engine), Relayed(engine), replay=True, suspects=suspects)
    for customer in CUSTOMERS:
        scoring.log.append(0, activity.event(f"e-{customer}", customer, activity.day(0)))
    for at in ticks:
        scoring.log.append(0, activity.tick(at))
    await scoring.drain()
    await engine.dispose()


def turns(url: str, days: list[float], how: str | None = None) -> None:
    """Run the process: the log has a purchase of each customer and a tick on each of these days."""
    if how is not None:
        poison(WHERE, "poisoned-bob", how)
    asyncio.run(_turns(url, [activity.day(day) for day in days]))
