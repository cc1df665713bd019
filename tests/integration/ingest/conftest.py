"""Fixtures of the integration tests of ingest."""

from collections.abc import AsyncIterator

import pytest

from deploy.local.stack import LocalStack
from services.ingest.store.tables import SCHEMA
from shared.kafka.producer import Producer
from tests.integration.ingest.running import ServiceEnvironment


@pytest.fixture
def tables_of() -> str:
    """Let databases begin with ingest's tables, empty."""
    return SCHEMA


@pytest.fixture
async def place(stack: LocalStack, database_url: str) -> ServiceEnvironment:
    """Provide topics and tables for one test."""
    place = ServiceEnvironment(stack, database_url)
    await place.prepare()
    return place


@pytest.fixture
async def upstream(place: ServiceEnvironment) -> AsyncIterator[Producer]:
    """Provide a producer to the raw topic."""
    producer = Producer(place.kafka, "test-upstream")
    yield producer
    await producer.close()
