"""Operator command: makes assessments after a restore of PostgreSQL newer than those before it."""

import argparse
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncEngine

from services.scoring.commands.service import add
from services.scoring.settings import ScoringSettings
from shared.kernel.errors import Invalid
from shared.postgres.engine import unit_of_work
from shared.postgres.statements import row_count

STEP: Final = 1_000_000
"""How much is added to a customer's revision: far more than a customer has had since the backup,
and 2^63 leaves room for more restores than there will be."""


def add_commands(commands: Any) -> None:
    """Adds `restored`."""
    add(
        commands,
        "restored",
        _raise_revisions,
        "after PostgreSQL was restored and before the start: number assessments anew, so that "
        "none counts as older than those published since the backup",
    )


async def _raise_revisions(_: argparse.Namespace, engine: AsyncEngine) -> int:
    if ScoringSettings().clock == "replay":
        raise Invalid("clock", "in a replay assessments get the same numbers again: start scoring")
    # One statement for every customer: of many millions it takes minutes.
    async with unit_of_work(engine, "SET LOCAL statement_timeout = 0") as work:
        done = await work.driver.execute(
            "UPDATE scoring.customer_state SET revision = revision + $1 WHERE revision IS NOT NULL",
            STEP,
        )
    print(f"the assessments of {row_count(done)} customers are numbered anew")
    return 0
