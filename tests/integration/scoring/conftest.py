"""Fixtures of the tests of scoring on real adapters."""

import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncEngine

from services.scoring.store.tables import SCHEMA
from shared.postgres.engine import create_engine
from shared.postgres.settings import PostgresSettings
from tests.integration.scoring.postgres import PostgresStore

VERSIONS = Path("services/scoring/store/versions")


@pytest.fixture
def tables_of() -> str:
    """Let databases begin with scoring's tables, empty."""
    return SCHEMA


@pytest.fixture
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    """Provide an engine on scoring's tables."""
    made = create_engine(PostgresSettings(url=SecretStr(database_url)), "test")
    yield made
    await made.dispose()


@pytest.fixture
def store(engine: AsyncEngine) -> PostgresStore:
    """Provide the real store."""
    return PostgresStore(engine)


@pytest.fixture
def mark() -> str:
    """Provide a suffix that makes the names of topics and groups the test's own."""
    return uuid.uuid4().hex[:8]
