"""Operator command: makes assessments after a restore of PostgreSQL newer than those before it."""

import argparse
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncEngine

from services.scoring.commands.service import add
from services.scoring.settings import ScoringSettings
from services.scoring.store.batch_statements import REVISIONS_ABOVE
from services.scoring.store.tables import SCHEMA
from shared.kernel.errors import Invalid
from shared.postgres.engine import unit_of_work
from shared.postgres.ledger import Ledger
from shared.postgres.statements import row_count
from shared.runtime.clock import SystemClock

PER_SECOND: Final = 1_000
"""Numbers of a customer that one second has room for, far more than it uses: after a restore they
begin at the Unix time times this, above those of an earlier restore of the same backup, too."""


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
    settings = ScoringSettings()
    if settings.clock == "replay":
        raise Invalid("clock", "in a replay assessments get the same numbers again: start scoring")
    above = int(SystemClock().now().timestamp()) * PER_SECOND
    # Of customers who came since the backup the database knows nothing.
    await Ledger(engine, SCHEMA).amend(
        settings.activity_topic, lambda progress: progress.update({REVISIONS_ABOVE: above})
    )
    # One statement for every customer: of many millions it takes minutes.
    async with unit_of_work(engine, "SET LOCAL statement_timeout = 0") as work:
        done = await work.driver.execute(
            "UPDATE scoring.customer_state SET revision = greatest(revision, $1) "
            "WHERE revision IS NOT NULL",
            above,
        )
    print(f"the assessments of {row_count(done)} customers, and of new ones, are numbered anew")
    return 0
