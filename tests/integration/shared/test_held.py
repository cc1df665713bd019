"""`held` prints every kind of data, with its age and the setting that bounds it."""

import asyncio
import importlib
from pathlib import Path

import pytest
from pydantic import SecretStr

from shared.postgres.engine import create_engine, unit_of_work
from shared.postgres.migrations import migrate
from shared.postgres.settings import PostgresSettings
from shared.runtime.command_line import main

pytestmark = [pytest.mark.stack, pytest.mark.access]


async def _prepare(url: str, service: str) -> None:
    engine = create_engine(PostgresSettings(url=SecretStr(url)), "test")
    await migrate(engine, service, Path(f"services/{service}/store/versions"))
    async with unit_of_work(engine) as work:
        await work.driver.execute(
            f"INSERT INTO {service}.audit (at, actor, origin, action, target) "  # noqa: S608
            "VALUES ('2026-03-01', 'a', 'o', 'x', '{}')"
        )
    await engine.dispose()


@pytest.mark.parametrize("service", ["ingest", "scoring", "alerts"])
def test_each_kind_is_printed(
    service: str,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Each names a table that exists; the oldest entry of the audit is the one that was made."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    asyncio.run(_prepare(database_url, service))
    module = importlib.import_module(f"services.{service}.__main__")
    kinds = importlib.import_module(f"services.{service}.store.held").kinds()
    assert main(module.SPEC, module._add_commands, ["held"]) == 0
    printed = capsys.readouterr().out.splitlines()
    of_topics = [line for line in printed if line.startswith("topic ebbwatch.")]
    assert of_topics
    assert all("days (retention.ms" in line or "erased" in line for line in of_topics)
    printed = printed[: -len(of_topics)]
    assert [line.split("  ")[0] for line in printed] == [kind.what for kind in kinds]
    assert all(kind.kept in line for kind, line in zip(kinds, printed, strict=True))
    assert "since 2026-03-01" in printed[-1]
    assert "EBBWATCH_AUDIT_RETENTION_DAYS" in printed[-1]
