"""What all tests share: one Kafka broker and one PostgreSQL server for a whole run.

They are started at the first test that asks for them. Where they cannot start, that test
fails: a stack is never a reason to skip.
"""

import asyncio
import gc
import itertools
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Generator, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import settings
from pydantic import SecretStr

from deploy.local.databases import EMPTY
from deploy.local.stack import DATA, InUse, LocalStack
from shared.postgres.engine import create_engine
from shared.postgres.migrations import migrate
from shared.postgres.settings import PostgresSettings

settings.register_profile("shared", deadline=None, derandomize=True)
settings.load_profile("shared")  # a law does not depend on how busy the machine is

WORKER = os.environ.get("PYTEST_XDIST_WORKER", "main")
"""Each worker of a parallel run has a stack of its own, so that none disturbs another's."""

NUMBERS = itertools.count()

gc.set_threshold(50_000, 20, 20)  # collecting looks at all modules each time: a tenth of a run


@pytest.fixture(scope="session")
def stack() -> Iterator[LocalStack]:
    """Kafka and PostgreSQL with no topic and no data; the same ones for every test."""
    for number in itertools.count():  # two runs in one working copy do not share a stack
        running = LocalStack(DATA / "test" / f"{WORKER}-{number}", wipe=True)
        try:
            running.start()
        except InUse:
            continue
        break
    yield running
    running.stop()


@pytest.fixture
def apache_kafka(stack: LocalStack) -> LocalStack:
    """The stack, for tests of what the embedded broker cannot do; skipped where that one runs."""
    if stack.broker == "embedded":
        pytest.skip("the embedded broker cannot do this: install Java >= 17 and Maven")
    return stack


@pytest.fixture(autouse=True, scope="session")
def uncached_loggers() -> Iterator[None]:
    """Keep no configuration in a logger beyond the test that used it first."""
    configure = structlog.configure

    def without_cache(**given: Any) -> None:
        configure(**{**given, "cache_logger_on_first_use": False})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(structlog, "configure", without_cache)
        yield


@pytest.fixture(autouse=True)
def unlogged_afterwards() -> Iterator[None]:
    """Take away the logging of a command run within the test: its stream is closed by then."""
    yield
    root = logging.getLogger()
    root.handlers[:] = [each for each in root.handlers if type(each) is not logging.StreamHandler]
    structlog.contextvars.clear_contextvars()
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def migrated(stack: LocalStack) -> Callable[[str], str]:
    """Returns the name of a database with the tables of a service; made once, to be copied."""

    @cache
    def template(service: str) -> str:
        name = f"migrated_{os.getpid()}_{service}"
        asyncio.run(_migrate(stack.postgres.fresh(name), service))
        return name

    return template


async def _migrate(url: str, service: str) -> None:
    engine = create_engine(PostgresSettings(url=SecretStr(url)), "test")
    await migrate(engine, service, Path(f"services/{service}/store/versions"))
    await engine.dispose()


@pytest.fixture
def tables_of() -> str | None:
    """The service with whose tables the test's database begins; None: with no table."""
    return None


@pytest.fixture
def database_url(
    stack: LocalStack, migrated: Callable[[str], str], tables_of: str | None
) -> Iterator[str]:
    """The URL of a database that no other test uses; gone after the test."""
    name = f"test_{os.getpid()}_{next(NUMBERS)}"
    yield stack.postgres.fresh(name, EMPTY if tables_of is None else migrated(tables_of))
    stack.postgres.drop(name)


@pytest.fixture
def public_folder() -> Iterator[Path]:
    """A folder that every user can enter, unlike pytest's own; gone after the test.

    As root, PostgreSQL runs as another user, who must be able to reach its data.
    """
    made = Path(tempfile.mkdtemp(prefix="ebbwatch-test-", dir="/var/tmp"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


def excused(reason: str) -> bool:
    """Return whether a test may be skipped for this reason in CI.

    Two things are not on every machine: the public histories and Apache Kafka. A reason names what
    is missing, and where the environment says that it is there, the test has to run.
    """
    histories = "EBBWATCH_DATA" in reason and not os.environ.get("EBBWATCH_DATA")
    apache = "embedded broker" in reason and os.environ.get("BROKER") != "kafka"
    return histories or apache


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI a skipped test fails: it proves nothing. So does one on the stack with BROKER=kafka."""
    report = yield
    on_stack = "stack" in getattr(item, "fixturenames", ())
    strict = os.environ.get("CI") or (on_stack and os.environ.get("BROKER") == "kafka")
    reason = str(report.longrepr)
    if strict and report.skipped and not hasattr(report, "wasxfail") and not excused(reason):
        report.outcome = "failed"
        report.longrepr = f"skipped where every test has to run: {reason}"
    return report
