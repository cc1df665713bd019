"""Runs a service's Alembic migrations: one schema and one version table per service.

Safe to run from several replicas at once: an advisory lock lets one work; the others wait and then
have nothing to do.
"""

import asyncio
from pathlib import Path
from typing import Literal

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from sqlalchemy.ext.asyncio import AsyncEngine

from shared.kernel.errors import Invalid, Transient

LOCK_CLASS = 0x65626277
"""'ebbw': first half of the advisory lock key; the second is a hash of the schema's name."""

LOCK_WAIT_MS = 120_000
"""How long a replica waits for another one's migrations; longer than any we would ship."""

POLL_S = 1.0
"""Seconds between looks at a schema that another process migrates."""

Place = Literal["behind", "newest", "unknown"]
"""Where a schema is, by the revisions of a release: `unknown` is a revision of a newer release."""

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


async def wait_until_migrated(
    engine: AsyncEngine, schema: str, versions: Path, seconds: float
) -> Place:
    """Wait until another process has brought `schema` to the newest revision; changes nothing.

    A revision that the folder does not know ends the wait as well: a newer release made it, and
    this one is rolled back to. Raises Transient, naming what was seen last, after so many seconds
    and the time that PostgreSQL takes to answer.
    """
    trouble = ""
    for look in range(int(seconds / POLL_S) + 1):
        await asyncio.sleep(POLL_S if look else 0)
        try:
            async with engine.connect() as connection:
                seen = await connection.run_sync(_place, schema, versions)
        except (OSError, sa.exc.DBAPIError, Transient) as error:
            trouble = f"PostgreSQL does not answer ({type(error).__name__})"
            continue
        if seen != "behind":
            return seen
        trouble = f"{schema} is not migrated yet"
    raise Transient(f"{trouble}, after {seconds:g} s: did `migrate` end well?")


def _place(connection: sa.Connection, schema: str, versions: Path) -> Place:
    context = MigrationContext.configure(connection, opts={"version_table_schema": schema})
    now = set(context.get_current_heads())
    script = scripts(versions)
    if now == set(script.get_heads()):
        return "newest"
    known = {revision.revision for revision in script.walk_revisions()}
    return "behind" if now <= known else "unknown"


def scripts(versions: Path) -> ScriptDirectory:
    """Return the revisions of a release, those in the folder `versions`."""
    return ScriptDirectory.from_config(_config(versions))


def _config(versions: Path) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_ENVIRONMENT))
    config.set_main_option("version_locations", str(versions))
    config.set_main_option("path_separator", "newline")
    return config


def _upgrade(connection: sa.Connection, schema: str, versions: Path) -> None:
    config = _config(versions)
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
