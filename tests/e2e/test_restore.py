"""Restore drills on the real services: PostgreSQL goes back in time, and Kafka is lost.

The steps are those of docs/operations.md, with its commands: once on a replayed history, which is
the same in every run, and once on the wall clock, as in production.
"""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import numpy as np
import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from numpy.typing import NDArray

from deploy.demo.dataset import PanelHistory, load
from deploy.demo.replayer import STRUCTURED
from deploy.demo.services import NAMES
from deploy.local import postgres
from deploy.local import topics as creating
from deploy.local.stack import ROOT
from shared.contracts import topics
from shared.contracts.events import PURCHASE
from shared.contracts.topics import RAW
from shared.kafka.partitions import partitions_of
from shared.kafka.producer import Producer, Record
from tests.e2e.services_on_history import SETTLED_S_MAX, World

HOUSEHOLDS = 100
DAYS = 24
BACKUP_DAY = 8
"""The day of the replay in whose morning the backup is made."""

NUMBERS_MAX = 1_000
"""Assessments that a customer has had before the restore, at most."""

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


GROUP = 16
"""Customers of one group: a few in each partition."""


async def _send(world: World, group: str, *days_ago: float) -> None:
    """Send a purchase of each customer of a group so many days before now."""
    now, producer = datetime.now(UTC), Producer(world.stack.kafka.settings, "shop")
    times = [now - timedelta(days=days) for days in days_ago]
    await producer.send(
        Record(RAW.name, name.encode(), _purchase(name, at), (STRUCTURED,))
        for name in _names(group)
        for at in times
    )
    await producer.close()


def _names(group: str) -> list[str]:
    return [f"{group}-{number}" for number in range(GROUP)]


def _purchase(customer: str, at: datetime) -> bytes:
    data = {"amount": "10.00", "currency": "USD"}
    event = {"specversion": "1.0", "id": f"{customer}-{at.isoformat()}", "source": "shop"}
    about = {"type": PURCHASE, "time": at.isoformat(), "subject": customer, "data": data}
    return json.dumps(event | about).encode()


async def _statuses(world: World) -> dict[str, str]:
    """Return the status of each customer's only task."""
    connection = await asyncpg.connect(world.database_url)
    try:
        rows = await connection.fetch("SELECT customer_id, status FROM alerts.task")
    finally:
        await connection.close()
    found = {row["customer_id"]: row["status"] for row in rows}
    assert len(found) == len(rows), "a customer has two tasks"
    return found


async def _until(world: World, expected: dict[str, str]) -> None:
    """Return when every customer has this task, and everything has been read."""
    await _caught_up(world)

    async def done() -> bool:
        return await _statuses(world) == expected

    await world.services.wait(done, "the tasks that are expected", SETTLED_S_MAX)


async def _delete_records(world: World, at: TopicPartition) -> int:
    """Delete all records of a partition, as retention does; return where it begins now."""
    admin = AIOKafkaAdminClient(**world.stack.kafka.settings.client_kwargs("test"))
    await admin.start()
    end = (await world.backlog.ends(topics.ACTIVITY))[at]
    await admin.delete_records({at: RecordsToDelete(end)})
    await admin.close()
    return end


async def test_live_services_go_on_but_for_the_partition_whose_records_are_gone(
    folder: Path, environ: dict[str, str], tmp_path: Path
) -> None:
    """On the wall clock: every step of the page, and one partition older than Kafka's retention.

    The doctor names it before and after the start; all others catch up exactly once, and its
    command lets it go on behind the gap.
    """
    weekly = [24.0 + 7 * week for week in range(12)]
    async with World.open(folder, environ, clock="live") as world:
        backup = tmp_path / "ebbwatch.dump"
        await _send(world, "early", *weekly)
        await _until(world, dict.fromkeys(_names("early"), "open"))
        _tool("pg_dump", world, "--format=custom", f"--file={backup}")
        kept = await _ledger(world)
        await _send(world, "late", *weekly)
        await _send(world, "early", 0.0)
        wanted = dict.fromkeys(_names("early"), "closed") | dict.fromkeys(_names("late"), "open")
        await _until(world, wanted)
        received = {each.webhook_id for each in await world.received()}

        world.services.stop(*NAMES)
        lost = await _delete_records(world, TopicPartition(topics.ACTIVITY.name, 0))
        assert kept["scoring", topics.ACTIVITY.name, 0] < lost, "nothing happened there"
        _restore(world, backup)
        assert "are numbered anew" in world.services.command("scoring", "restored")
        findings = _lag(_doctor(world), "fail")
        place = f"{topics.ACTIVITY.name}/0"
        for name in ("scoring", "alerts"):
            (one,) = (each for each in findings if f"before {name} read them" in each["what"])
            assert f" records of {place} were deleted" in one["what"]
            assert one["do"].endswith(f"--offset {lost}")
        assert len(findings) == 2, findings

        world.services.start(*NAMES)

        async def stopped() -> bool:
            found = [each["what"] for each in _lag(_doctor(world), "fail")]
            return sum(f"stopped reading {place}" in what for what in found) == 2

        await world.services.wait(stopped, "the partition to stop", SETTLED_S_MAX)
        for each in _lag(_doctor(world), "fail"):
            command = each["do"].split()
            world.services.command(command[2].removeprefix("services."), *command[3:])
        await world.services.ready(*NAMES)
        await _send(world, "early", 0.0)
        await _until(world, wanted)
        assert not _lag(_doctor(world), "fail")
        # Whose first and only events are gone is known from before alone.
        late = _names("late")
        places = partitions_of([name.encode() for name in late], topics.ACTIVITY.partitions)
        forgotten = {name for name, number in zip(late, places, strict=True) if number == 0}
        assert forgotten
        assert await _numbered_anew(world) == wanted.keys() - forgotten
        assert {each.webhook_id for each in await world.received()} >= received


async def _numbered_anew(world: World) -> set[str]:
    """Return the customers of whom alerts has an assessment that was made after the restore."""
    connection = await asyncpg.connect(world.database_url)
    try:
        rows = await connection.fetch(
            "SELECT customer_id FROM alerts.customer WHERE revision > $1", NUMBERS_MAX
        )
    finally:
        await connection.close()
    return {row["customer_id"] for row in rows}


async def _same_states(world: World, customers: list[str], states: NDArray[np.void]) -> None:
    found, after = await world.states()
    assert found == customers
    for name in states.dtype.names or ():
        np.testing.assert_allclose(after[name], states[name], rtol=1e-9, atol=1e-9, err_msg=name)
