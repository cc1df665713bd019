"""TLS and SASL as a deployment turns them on, by settings alone (R21)."""

import asyncio
import gc
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer
from pydantic import SecretStr

from deploy.local import topics
from deploy.local.stack import DATA, LocalStack
from shared.contracts.topics import Topic
from shared.kafka.producer import Producer, Record
from shared.kafka.settings import KafkaSettings
from shared.kernel.errors import Transient
from shared.postgres.engine import create_engine, unit_of_work
from shared.postgres.settings import PostgresSettings
from tests.conftest import WORKER
from tests.integration.shared.secured import SCRAM, Secured, running

pytestmark = [pytest.mark.stack, pytest.mark.timeout(180)]

LIMIT_S = 30.0


@pytest.fixture(scope="module")
def secured(stack: LocalStack) -> Iterator[Secured]:
    """Provide a secured broker and database."""
    if stack.broker == "embedded":
        pytest.skip("the embedded broker has no guarded doors: install Java >= 17 and Maven")
    data = DATA / "test" / f"{WORKER}-secured"
    data.mkdir(parents=True, exist_ok=True)
    with running(data) as made:
        with warnings.catch_warnings():
            # A probe of the starting broker may leave a socket that aiokafka did not close.
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()
        yield made


async def there_and_back(settings: KafkaSettings, mark: str) -> bytes | None:
    """Create a topic, write a record and read it, all as a service would."""
    topic = f"secured-{mark}"
    await topics.create(settings, (Topic(topic, 1),))
    producer = Producer(settings, "test")
    await producer.send([Record(topic, b"k", b"v")])
    await producer.close()
    consumer = AIOKafkaConsumer(
        topic, **settings.client_kwargs("test"), auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        async with asyncio.timeout(LIMIT_S):
            value: bytes | None = (await consumer.getone()).value
            return value
    finally:
        await consumer.stop()


@pytest.mark.parametrize(
    ("protocol", "mechanism"),
    [
        ("SASL_PLAINTEXT", "PLAIN"),
        ("SASL_PLAINTEXT", SCRAM),
        ("SSL", "PLAIN"),
        ("SASL_SSL", "PLAIN"),
        ("SASL_SSL", SCRAM),
    ],
)
async def test_kafka_lets_the_right_one_in(
    secured: Secured, mark: str, protocol: str, mechanism: str
) -> None:
    """Every protocol that the settings accept works, on Apache Kafka."""
    settings = secured.kafka(protocol, sasl_mechanism=mechanism)
    assert await there_and_back(settings, mark) == b"v"


@pytest.mark.parametrize("mechanism", ["PLAIN", SCRAM])
async def test_kafka_refuses_a_wrong_password(secured: Secured, mechanism: str) -> None:
    """The error is reported as a failure of Kafka, without the password."""
    settings = secured.kafka(
        "SASL_PLAINTEXT", sasl_mechanism=mechanism, sasl_password=SecretStr("open-sesame")
    )
    with pytest.raises(Transient, match="Kafka") as trouble:
        await Producer(settings, "test").send([Record("t", None, b"v")])
    assert "open-sesame" not in str(trouble.value)


async def test_a_client_refuses_a_strange_broker(secured: Secured) -> None:
    """The client trusts no signer of the broker's certificate: nothing is sent."""
    settings = secured.kafka("SASL_SSL", ssl_cafile=str(secured.stranger))
    with pytest.raises(Transient, match="Kafka"):
        await Producer(settings, "test").send([Record("t", None, b"v")])


async def encrypted(url: str) -> bool:
    """Return whether the server reports a session at this address as encrypted."""
    engine = create_engine(PostgresSettings(url=SecretStr(url)), "test")
    try:
        async with unit_of_work(engine) as work:
            query = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
            return bool(await work.driver.fetchval(query))
    finally:
        await engine.dispose()


async def test_postgresql_over_tls(secured: Secured) -> None:
    """The authority and the name are right."""
    assert await encrypted(secured.database_url(secured.authority))


async def test_a_strange_server_is_refused(secured: Secured) -> None:
    """The certificate is signed by another authority: refused before the password is sent."""
    for mode in ("verify-full", "verify-ca"):
        with pytest.raises(Transient, match=r"(?i)certificate"):
            await encrypted(secured.database_url(secured.stranger, mode))


async def test_another_name_is_refused(secured: Secured) -> None:
    """The certificate is good, but not for the requested name."""
    with pytest.raises(Transient, match=r"(?i)hostname"):
        await encrypted(secured.database_url(secured.authority, host="localhost"))
    assert await encrypted(secured.database_url(secured.authority, "verify-ca", "localhost"))


@pytest.mark.parametrize("trusted", [True, False])
def test_a_service_over_tls(secured: Secured, *, trusted: bool) -> None:
    """The URL is all that an operator sets: migrations run, or are refused.

    The refusal is one line without the password.
    """
    url = secured.database_url(secured.authority if trusted else secured.stranger)
    done = subprocess.run(
        [sys.executable, "-m", "services.scoring", "migrate"],
        env={**os.environ, "DATABASE_URL": url},
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=False,
    )
    shown = done.stdout + done.stderr
    assert done.returncode == (0 if trusted else 1), shown
    password = url.split(":")[2].split("@")[0]
    assert password not in shown
    if not trusted:
        assert "certificate" in shown
        assert "Traceback" not in shown
