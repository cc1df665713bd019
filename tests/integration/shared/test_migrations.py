"""Migrations: every replica runs them at its start, so several at once must do no harm."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncEngine

from deploy.local.waiting import free_port
from shared.kernel.errors import Invalid, Transient
from shared.postgres.engine import create_engine, unit_of_work
from shared.postgres.migrations import migrate, wait_until_migrated
from shared.postgres.settings import PostgresSettings

pytestmark = pytest.mark.stack

FIRST = '''
"""A table, slowly."""
import sqlalchemy as sa
from alembic import op
revision, down_revision, branch_labels, depends_on = "one", None, None, None
def upgrade():
    op.execute("SELECT pg_sleep(0.5)")
    op.create_table("thing", sa.Column("id", sa.Integer), schema="slow")
    op.execute("INSERT INTO slow.thing VALUES (1)")
'''
BROKEN = '''
"""Fails after it has done something."""
from alembic import op
revision, down_revision, branch_labels, depends_on = "two", "one", None, None
def upgrade():
    op.execute("INSERT INTO slow.thing VALUES (2)")
    op.execute("SELECT 1 / 0")
'''


async def things(engine: AsyncEngine) -> list[int]:
    """Return what the revisions wrote."""
    async with unit_of_work(engine) as work:
        return [row["id"] for row in await work.driver.fetch("SELECT id FROM slow.thing")]


async def test_several_at_once(postgres: PostgresSettings, tmp_path: Path) -> None:
    """Three replicas start together: one migrates, the others wait and find nothing to do."""
    (tmp_path / "0001_one.py").write_text(FIRST)
    engines = [create_engine(postgres, "test") for _ in range(3)]
    await asyncio.gather(*(migrate(engine, "slow", tmp_path) for engine in engines))
    assert await things(engines[0]) == [1]
    await migrate(engines[0], "slow", tmp_path)
    assert await things(engines[0]) == [1]
    for engine in engines:
        await engine.dispose()


async def test_a_failing_revision_leaves_nothing(
    postgres: PostgresSettings, tmp_path: Path
) -> None:
    """The broken revision is undone and reported; the lock is free for the corrected one."""
    (tmp_path / "0001_one.py").write_text(FIRST)
    engine = create_engine(postgres, "test")
    await migrate(engine, "slow", tmp_path)
    (tmp_path / "0002_two.py").write_text(BROKEN)
    with pytest.raises(Exception, match="division by zero"):
        await migrate(engine, "slow", tmp_path)
    assert await things(engine) == [1]
    (tmp_path / "0002_two.py").write_text(BROKEN.replace("1 / 0", "1"))
    await migrate(engine, "slow", tmp_path)
    assert await things(engine) == [1, 2]
    await engine.dispose()


async def test_an_unknown_revision_is_refused(postgres: PostgresSettings, tmp_path: Path) -> None:
    """Tables of a newer version, or of one that the baseline forgot, stay as they are."""
    (tmp_path / "0001_one.py").write_text(FIRST)
    engine = create_engine(postgres, "test")
    await migrate(engine, "slow", tmp_path)
    async with unit_of_work(engine) as work:
        await work.driver.execute("UPDATE slow.alembic_version SET version_num = 'zero'")
    with pytest.raises(Invalid, match="slow is at a revision that this version does not know"):
        await migrate(engine, "slow", tmp_path)
    assert await things(engine) == [1]
    await engine.dispose()


async def test_two_processes_of_a_service(database_url: str, postgres: PostgresSettings) -> None:
    """The command line's `migrate` runs twice at once on an empty database."""
    environment = {**os.environ, "DATABASE_URL": database_url}
    command = (sys.executable, "-m", "services.scoring", "migrate")
    both = [
        await asyncio.create_subprocess_exec(
            *command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        for _ in range(2)
    ]
    shown = [(await process.communicate())[0].decode() for process in both]
    assert [process.returncode for process in both] == [0, 0], shown
    engine = create_engine(postgres, "test")
    async with unit_of_work(engine) as work:
        assert await work.driver.fetchval("SELECT count(*) FROM scoring.alembic_version") == 1
        assert await work.driver.fetchval("SELECT count(*) FROM scoring.event_key") == 0
    await engine.dispose()


async def test_a_service_waits_for_the_process_that_migrates(
    postgres: PostgresSettings, tmp_path: Path
) -> None:
    """It changes nothing, and goes on at the newest revision or at one of a newer release."""
    old, new = tmp_path / "old", tmp_path / "new"
    for folder in (old, new):
        folder.mkdir()
        (folder / "0001_one.py").write_text(FIRST)
    (new / "0002_two.py").write_text(BROKEN.replace("SELECT 1 / 0", "SELECT 1"))
    engine = create_engine(postgres, "test")
    with pytest.raises(Transient, match="slow is not migrated yet, after 0 s"):
        await wait_until_migrated(engine, "slow", old, 0)
    waiting = asyncio.create_task(wait_until_migrated(engine, "slow", old, 30))
    await migrate(engine, "slow", old)
    assert await waiting == "newest"
    with pytest.raises(Transient, match="not migrated yet"):
        await wait_until_migrated(engine, "slow", new, 0)
    await migrate(engine, "slow", new)
    assert await wait_until_migrated(engine, "slow", new, 0) == "newest"
    assert await wait_until_migrated(engine, "slow", old, 0) == "unknown"
    await engine.dispose()


async def test_a_database_that_does_not_answer_is_waited_for(tmp_path: Path) -> None:
    """The wait ends with what was seen last."""
    (tmp_path / "0001_one.py").write_text(FIRST)
    away = PostgresSettings(url=SecretStr(f"postgresql://u:p@127.0.0.1:{free_port()}/none"))
    engine = create_engine(away, "test")
    with pytest.raises(Transient, match="PostgreSQL does not answer"):
        await wait_until_migrated(engine, "slow", tmp_path, 0)
    await engine.dispose()
