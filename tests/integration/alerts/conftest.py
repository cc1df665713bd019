"""Fixtures of the integration tests of alerts."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncEngine

from deploy.local.stack import LocalStack
from services.alerts.delivery.core.endpoint import Endpoint, Route
from services.alerts.store.tables import SCHEMA
from shared.contracts.customer_message import SEND
from shared.kafka.producer import Producer
from shared.postgres.engine import create_engine
from shared.postgres.settings import PostgresSettings
from tests.integration.alerts.harness import AlertsHarness
from tests.integration.alerts.message_parts import sending_policy
from tests.integration.alerts.receiver import Receiver, receiving
from tests.integration.alerts.running import ServiceEnvironment
from tests.unit.alerts.samples import day

VERSIONS = Path("services/alerts/store/versions")


@pytest.fixture
def tables_of() -> str:
    """Let databases begin with empty tables of alerts."""
    return SCHEMA


@pytest.fixture
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    """Provide an engine on the tables of alerts."""
    made = create_engine(PostgresSettings(url=SecretStr(database_url), pool_size=10), "test")
    yield made
    await made.dispose()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """Provide a receiver of webhooks."""
    async with receiving() as made:
        yield made


@pytest.fixture
async def place(
    stack: LocalStack, database_url: str, engine: AsyncEngine, receiver: Receiver
) -> ServiceEnvironment:
    """Provide topics and tables for one test, and a receiver."""
    made = ServiceEnvironment(stack, database_url, engine, receiver)
    await made.prepare()
    return made


@pytest.fixture
async def upstream(place: ServiceEnvironment) -> AsyncIterator[Producer]:
    """Provide a producer to the topics of the test."""
    producer = Producer(place.kafka, "test-upstream")
    yield producer
    await producer.close()


@pytest.fixture
async def mailing(engine: AsyncEngine, receiver: Receiver) -> AsyncIterator[AlertsHarness]:
    """Provide a harness with one provider of messages to customers, at nine on a Monday."""
    like = Endpoint(id="any", route=Route(event_types=(SEND,)))
    async with AlertsHarness(engine, endpoints={"mailer": receiver.url}, like=like) as made:
        made.policy = sending_policy()
        made.clock.at = day(0)
        yield made
