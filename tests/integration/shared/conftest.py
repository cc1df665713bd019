"""Fixtures of the tests of shared adapters: a database with the shared tables, and topics."""

import uuid
from collections.abc import AsyncIterator

import pytest
import sqlalchemy as sa
from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncEngine

from deploy.local.stack import LocalStack
from shared.postgres.engine import create_engine
from shared.postgres.ledger import Ledger
from shared.postgres.settings import PostgresSettings
from tests.integration.shared.environment import BrokerEnvironment
from tests.integration.shared.tables import SCHEMA, metadata


@pytest.fixture
def postgres(database_url: str) -> PostgresSettings:
    """Provide the settings of the test's own database."""
    return PostgresSettings(url=SecretStr(database_url), pool_size=10)


@pytest.fixture
async def engine(postgres: PostgresSettings) -> AsyncIterator[AsyncEngine]:
    """Provide an engine on a database with the shared tables, empty."""
    made = create_engine(postgres, "test")
    async with made.begin() as connection:
        await connection.execute(sa.text(f"CREATE SCHEMA {SCHEMA}"))
        await connection.run_sync(metadata.create_all)
    yield made
    await made.dispose()


@pytest.fixture
def ledger(engine: AsyncEngine) -> Ledger:
    """Provide the ledger of the test's schema."""
    return Ledger(engine, SCHEMA)


@pytest.fixture
def mark() -> str:
    """Provide a suffix that makes the names of topics and groups the test's own."""
    return uuid.uuid4().hex[:8]


@pytest.fixture
def place(stack: LocalStack, engine: AsyncEngine, ledger: Ledger, mark: str) -> BrokerEnvironment:
    """Provide names on the broker that are the test's own; the test creates the topic itself."""
    return BrokerEnvironment(stack.kafka.settings, engine, ledger, mark)
