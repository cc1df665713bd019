"""Restore drills on the real services: PostgreSQL goes back in time, and Kafka is lost.

The steps are those of docs/operations.md, with its commands.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import numpy as np
import pytest
from aiokafka import TopicPartition
from numpy.typing import NDArray

from deploy.demo.dataset import PanelHistory, load
from deploy.demo.services import NAMES
from deploy.local import postgres
from deploy.local import topics as creating
from deploy.local.stack import ROOT
from shared.contracts import topics
from tests.e2e.services_on_history import SETTLED_S_MAX, World

HOUSEHOLDS = 100
DAYS = 24
BACKUP_DAY = 8
"""The day of the replay in whose morning the backup is made."""

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def history() -> PanelHistory:
    return load(HOUSEHOLDS)


def _tool(name: str, world: World, *arguments: str) -> None:
    """Run a program of PostgreSQL on the services' database."""
    url = urlsplit(world.database_url)
    plain = urlunsplit(url._replace(netloc=f"{url.username}@{url.hostname}:{url.port}"))
    subprocess.run(
        [str(postgres.binaries() / name), *arguments, "--dbname", plain],
        env={**os.environ, "PGPASSWORD": url.password or ""},
        check=True,
        capture_output=True,
    )


def _restore(world: World, backup: Path) -> None:
    """Put the database of the backup in place of the present one."""
    world.stack.postgres.fresh(urlsplit(world.database_url).path.strip("/"))
    _tool("pg_restore", world, "--exit-on-error", str(backup))


def _doctor(world: World) -> list[dict[str, str]]:
    """Return what the doctor finds."""
    done = subprocess.run(
        [sys.executable, "-m", "deploy.local", "doctor", "--json"],
        cwd=ROOT,
        env=world.services.variables(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in {0, 1, 2}, done.stderr
    found: list[dict[str, str]] = json.loads(done.stdout)["findings"]
    return found


def _lag(findings: list[dict[str, str]], level: str) -> list[dict[str, str]]:
    return [each for each in findings if each["check"] == "lag" and each["level"] == level]


async def _ledger(world: World) -> dict[tuple[str, str, int], int]:
    """Return the offsets that each service has reached, by schema, topic and partition."""
    connection = await asyncpg.connect(world.database_url)
    try:
        return {
            (schema, row["topic"], row["partition"]): row["next_offset"] or 0
            for schema in NAMES
            for row in await connection.fetch(f"SELECT * FROM {schema}.partition")  # noqa: S608
        }
    finally:
        await connection.close()


async def _caught_up(world: World) -> None:
    """Return when every ledger is at the end of its logs, which the group's offsets do not show."""

    async def done() -> bool:
        ends = await world.backlog.ends(*topics.ALL)
        reached = await _ledger(world)
        return all(ends[TopicPartition(t, p)] == at for (_, t, p), at in reached.items())

    await world.services.wait(done, "the ledgers to reach the logs' ends", SETTLED_S_MAX)
    await world.settled()


async def test_a_database_of_before_catches_up_exactly_once(
    history: PanelHistory, folder: Path, environ: dict[str, str], tmp_path: Path
) -> None:
    """PostgreSQL is restored beside a Kafka that went on: everything is as it was.

    Then Kafka is lost as well, with PostgreSQL kept: every partition stops, and the doctor's
    commands let it go on.
    """
    async with World.open(folder, environ) as world:
        backup = tmp_path / "ebbwatch.dump"
        await world.load(history)
        mornings = iter(range(DAYS))
        in_backup: list[int] = []

        async def back_up(sent: int) -> None:
            if next(mornings) == BACKUP_DAY:
                in_backup.append(sent)
                _tool("pg_dump", world, "--format=custom", f"--file={backup}")

        sent = await world.replay(history, DAYS, back_up)
        await _caught_up(world)
        assert sent > in_backup[0], "nothing happened since the backup"
        reached, tasks = await _ledger(world), await world.tasks()
        customers, states = await world.states()
        received = {each.webhook_id for each in await world.received()}

        world.services.stop(*NAMES)
        _restore(world, backup)
        assert len(await world.tasks()) < len(tasks), "every task is in the backup"
        findings = _doctor(world)
        assert not _lag(findings, "fail")
        assert any(" 0 records wait" not in each["what"] for each in _lag(findings, "ok"))
        world.services.start(*NAMES)
        await world.services.ready(*NAMES)
        await _caught_up(world)

        assert (await _ledger(world)).items() >= {
            key: at for key, at in reached.items() if key[1] == topics.ACTIVITY.name
        }.items()
        assert await world.tasks() == tasks
        await _same_states(world, customers, states)
        # What was sent since the backup is sent again under the same ids, and nothing else.
        assert {each.webhook_id for each in await world.received()} == received

        await _lose_kafka(world)
        await _same_states(world, customers, states)


async def _lose_kafka(world: World) -> None:
    """Replace Kafka by an empty one, and do what the doctor says."""
    world.services.stop(*NAMES)
    broker = world.stack.kafka
    broker.ours.stop()
    broker.ours.wipe()
    broker.start()
    await creating.create(broker.settings)
    findings = _lag(_doctor(world), "fail")
    behind = {each for each, at in (await _ledger(world)).items() if at > 0}
    assert len(findings) == len(behind)
    for each in findings:
        command = each["do"].partition("then ")[2].split()
        assert command[:2] == ["python", "-m"], each
        world.services.command(command[2].removeprefix("services."), *command[3:])
    assert not _lag(_doctor(world), "fail")
    world.services.start(*NAMES)
    await world.services.ready(*NAMES)


async def _same_states(world: World, customers: list[str], states: NDArray[np.void]) -> None:
    found, after = await world.states()
    assert found == customers
    for name in states.dtype.names or ():
        np.testing.assert_allclose(after[name], states[name], rtol=1e-9, atol=1e-9, err_msg=name)
