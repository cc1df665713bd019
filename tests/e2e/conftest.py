"""What end-to-end tests share: where their servers keep their data."""

import os
from pathlib import Path

import pytest

from deploy.local.stack import DATA
from tests.conftest import WORKER


@pytest.fixture(scope="session")
def folder() -> Path:
    """Servers are started here one after the other; each start wipes what is there."""
    return DATA / "test" / f"{WORKER}-e2e"


@pytest.fixture(scope="session")
def environ() -> dict[str, str]:
    """The environment without servers of others: these tests start, fill and kill their own."""
    foreign = {"KAFKA_BOOTSTRAP_SERVERS", "DATABASE_URL"}
    return {name: value for name, value in os.environ.items() if name not in foreign}
