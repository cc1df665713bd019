"""Runs a service's Alembic migrations: one schema and one version table per service.

Safe to run from several replicas at once: an advisory lock lets one work; the others wait and then
have nothing to do.
"""

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.util.exc import CommandError
from sqlalchemy.ext.asyncio import AsyncEngine

from shared.kernel.errors import Invalid

LOCK_CLASS = 0x65626277
"""'ebbw': first half of the advisory lock key; the second is a hash of the schema's name."""

LOCK_WAIT_MS = 120_000
"""How long a replica waits for another one's migrations; longer than any we would ship."""

_ENVIRONMENT = Path(__file__).parent / "alembic"


async def migrate(engine: AsyncEngine, schema: str, versions: Path) -> None:
    """Bring `schema` to the newest revision in the folder `versions`.

    Raises Invalid where it is at a revision that the folder does not know.
    """
    async with engine.connect() as connection:
        await connection.execute(sa.text(f"SET statement_timeout = {LOCK_WAIT_MS}"))
        await connection.execute(sa.text("SET idle_in_transaction_session_timeout = 0"))
        await connection.execute(
            sa.text("SELECT pg_advisory_lock(:c, hashtext(:s))"), {"c": LOCK_CLASS, "s": schema}
        )
        await connection.commit()
        try:
            # `IF NOT EXISTS` alone asks for the right to create schemas, which the owner of one
            # that was made for it need not have.
            made = await connection.scalar(sa.text("SELECT to_regnamespace(:s)"), {"s": schema})
            if made is None:
                await connection.execute(sa.text(f"CREATE SCHEMA IF NOT EXISTS {schema}"))
            await connection.commit()
            await connection.run_sync(_upgrade, schema, versions)
            await connection.commit()
        finally:
            # The session's settings and lock end with the connection, which is not reused.
            await connection.invalidate()


def _upgrade(connection: sa.Connection, schema: str, versions: Path) -> None:
    config = Config()
    config.set_main_option("script_location", str(_ENVIRONMENT))
    config.set_main_option("version_locations", str(versions))
    config.set_main_option("path_separator", "newline")
    config.attributes.update(connection=connection, schema=schema)
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise Invalid(
            "schema",
            f"{schema} is at a revision that this version does not know ({error}): a newer version "
            "made it, or one from before the baseline (docs/decisions/0031): then run `migrate` of "
            "the last version before the baseline first",
        ) from error
