"""Fixtures of the end-to-end tests: the folder of their servers' data."""

import os
from pathlib import Path

import pytest

from deploy.local.stack import DATA
from tests.conftest import WORKER


@pytest.fixture(scope="session")
def folder() -> Path:
    """The folder in which servers are started one after the other; each start wipes it."""
    return DATA / "test" / f"{WORKER}-e2e"


@pytest.fixture(scope="session")
def environ() -> dict[str, str]:
    """The environment without external servers: these tests start, fill and kill their own."""
    foreign = {"KAFKA_BOOTSTRAP_SERVERS", "DATABASE_URL"}
    return {name: value for name, value in os.environ.items() if name not in foreign}
