"""Segment commands: an invalid one is not saved, and any stored one can be retired."""

import asyncio
from datetime import UTC, datetime

import pytest
from pydantic import SecretStr

from deploy.local.stack import LocalStack
from services.scoring.commands.service import SPEC
from services.scoring.commands.value import add_commands
from services.scoring.store.definitions import Decisions, SegmentDefinition
from shared.postgres.engine import create_engine
from shared.postgres.settings import PostgresSettings
from shared.runtime.command_line import main

pytestmark = pytest.mark.stack


def old(segment: str) -> SegmentDefinition:
    """Return a segment as an earlier version saved it."""
    return SegmentDefinition(
        id=segment, version=0, revision=0, name="Big", description="", action=None,
        expression="purchases > 10", act_on_existing=False, retired=False,
        created_at=datetime(2026, 3, 1, tzinfo=UTC),
    )  # fmt: skip


async def prepare(url: str) -> None:
    """Create two segments with ids that this version would not accept."""
    engine = create_engine(PostgresSettings(url=SecretStr(url)), "test")
    try:
        for segment in ("big_spenders", "Große Käufer/1"):
            await Decisions(engine).save_segment(old(segment), 0)
    finally:
        await engine.dispose()


async def in_force(url: str) -> list[str]:
    """Return the ids of all segments in force."""
    engine = create_engine(PostgresSettings(url=SecretStr(url)), "test")
    try:
        return [one.id for one in await Decisions(engine).segments()]
    finally:
        await engine.dispose()


def test_retire_and_define(
    stack: LocalStack,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The exit status is 0 on success and 1, with the reason, on failure."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    asyncio.run(prepare(database_url))

    def command(*words: str) -> int:
        return main(SPEC, add_commands, ["segments", *words])

    assert command("define", "loyal", r"'\ud800'.matches('a')") == 1
    assert "U+D800" in capsys.readouterr().err
    assert command("define", "not_a_word", "purchases > 1") == 1
    assert "big-city" in capsys.readouterr().err
    assert command("retire", "nobody") == 1
    assert "no segment 'nobody' is in force" in capsys.readouterr().err
    assert command("define", "loyal", "purchases > 1") == 0
    for segment in ("big_spenders", "Große Käufer/1"):
        assert command("retire", segment) == 0
        assert command("retire", segment) == 1
    assert asyncio.run(in_force(database_url)) == ["loyal"]
