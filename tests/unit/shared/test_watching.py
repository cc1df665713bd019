"""The watch and the probes survive whatever a lost connection raises: they never end a service."""

from collections.abc import Iterator

import asyncpg
import pytest
from structlog.testing import capture_logs

from shared.kafka.log_ends import LogEnds
from shared.kafka.settings import KafkaSettings
from shared.observability.service_metrics import ServiceMetrics
from shared.postgres.engine import create_engine
from shared.postgres.probe import PostgresProbe
from shared.postgres.settings import PostgresSettings
from shared.postgres.watch import DatabaseWatch
from shared.runtime import watching
from shared.runtime.service import Stop
from shared.runtime.watching import Reads, Watch
from tests.fakes.clock import SetClock

POSTGRES = PostgresSettings.model_validate({"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"})

LOST = (
    asyncpg.InternalClientError("cannot switch to state 12; another operation (2) is in progress"),
    asyncpg.InterfaceError("connection is closed"),
    asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation"),
    asyncpg.CrashShutdownError("terminating connection because of crash of another server process"),
    ConnectionResetError(),
    TimeoutError(),
)
"""What asyncpg raised when PostgreSQL was killed, and the like."""

METRICS = ServiceMetrics("watching", "its end", ("all",), outbox=False)


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    monkeypatch.setattr(watching, "WATCH_S", 0.0)
    reads = Reads(schema="nothing", topics=list, owned=list, sent=list)
    engine = create_engine(POSTGRES, "watching")
    return Watch(METRICS, KafkaSettings(), POSTGRES, engine, SetClock(), reads)


async def logged(
    watch: Watch, errors: Iterator[Exception], monkeypatch: pytest.MonkeyPatch
) -> list[tuple[str, bool]]:
    """Let the watch read until `errors` are used up and once more.

    Returns what it logged, each with whether it has a traceback.
    """
    stop = Stop()

    async def read(*_: object) -> None:
        for error in errors:
            raise error
        stop.set()

    async def bounds(*_: object) -> dict[str, str]:
        return {}

    monkeypatch.setattr(DatabaseWatch, "read", read)
    monkeypatch.setattr(LogEnds, "bounds", bounds)
    with capture_logs() as logs:
        await watch(stop)
    return [(each["event"], bool(each.get("exc_info"))) for each in logs]


AGAIN = ("lag is read again", False)


@pytest.mark.parametrize("error", LOST, ids=lambda error: type(error).__name__)
async def test_the_watch_goes_on_after_any_loss(
    error: Exception, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is logged once, however long it lasts."""
    expected = [("lag is not read", False), AGAIN]
    assert await logged(watch, iter([error, error]), monkeypatch) == expected


async def test_a_bug_in_the_watch_is_logged_and_does_not_end_the_service(
    watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also after trouble with a server, once."""
    bug = KeyError("a bug")
    expected = [("lag is not read", False), ("lag is not read", True), AGAIN]
    assert await logged(watch, iter([TimeoutError(), bug, bug]), monkeypatch) == expected


class Connection:
    """A connection that the driver made; raises `error`, if given, at each statement."""

    def __init__(self, error: Exception | None) -> None:
        self._error = error
        self.terminated = False

    def is_closed(self) -> bool:
        return False

    async def execute(self, *_: object, **__: object) -> None:
        if self._error is not None:
            raise self._error

    def terminate(self) -> None:
        self.terminated = True


@pytest.mark.parametrize("error", LOST, ids=lambda error: type(error).__name__)
async def test_a_probe_connects_anew_after_any_loss(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Connection] = []

    async def connect(*_: object, **__: object) -> Connection:
        made.append(Connection(None if made else error))
        return made[-1]

    monkeypatch.setattr(asyncpg, "connect", connect)
    probe = PostgresProbe(POSTGRES, "probe")
    assert await probe() == f"PostgreSQL does not answer: {type(error).__name__}"
    assert await probe() is None
    assert [each.terminated for each in made] == [True, False]
