"""Engines and units of work: the only way in which a service opens a transaction.

Errors that pass by themselves (connection lost, deadlock, serialization, timeouts, disk full,
server starting) are raised as `Transient`; everything else is a bug and is raised unchanged.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import asyncpg
from sqlalchemy.exc import DBAPIError, InterfaceError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from shared.kernel.errors import Transient
from shared.postgres.settings import PostgresSettings

if TYPE_CHECKING:  # the class is generic for the type checker only
    Driver: TypeAlias = asyncpg.Connection[asyncpg.Record]
else:
    Driver = asyncpg.Connection

NO_ANSWER: tuple[type[Exception], ...] = (
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.InterfaceError,
    # A connection that is lost between two steps of a statement cannot "switch to state 12".
    asyncpg.InternalClientError,
    OSError,
    TimeoutError,
)
"""What asyncpg raises where the server, or the way to it, is lost."""

TROUBLE: tuple[type[Exception], ...] = (asyncpg.PostgresError, *NO_ANSWER)
"""The same, and what the server answers."""

PASSING: tuple[type[BaseException], ...] = (
    *NO_ANSWER,
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
    asyncpg.LockNotAvailableError,
    asyncpg.QueryCanceledError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TooManyConnectionsError,
    asyncpg.DiskFullError,
    asyncpg.OutOfMemoryError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.ReadOnlySQLTransactionError,
    InterfaceError,
    PoolTimeout,
)


def is_passing(error: BaseException) -> bool:
    """Returns True when repeating the whole transaction unchanged can succeed."""
    if isinstance(error, PASSING):
        return True
    if isinstance(error, DBAPIError):
        if error.connection_invalidated:
            return True
        causes = (error.orig, getattr(error.orig, "__cause__", None))
        return any(isinstance(cause, PASSING) for cause in causes)
    return False


def create_engine(settings: PostgresSettings, application: str) -> AsyncEngine:
    """Creates an engine that names its connections `ebbwatch-<application>`."""
    url = settings.url.get_secret_value()

    # SQLAlchemy passes every argument to `async_creator`; asyncpg parses the URL itself, so that
    # libpq's TLS parameters have their usual meaning.
    async def connect(*_: Any, **__: Any) -> Driver:
        return await asyncpg.connect(
            url,
            timeout=settings.connect_timeout_s,
            server_settings={
                # A batch forbids sequential scans, which the planner counts as a high cost; a
                # server with its defaults would compile each statement for it, for longer than it
                # runs.
                "jit": "off",
                "application_name": f"ebbwatch-{application}",
                "timezone": "UTC",
                "statement_timeout": str(settings.statement_timeout_ms),
                "idle_in_transaction_session_timeout": str(settings.idle_in_transaction_timeout_ms),
            },
        )

    return create_async_engine(
        "postgresql+asyncpg://",
        async_creator=connect,
        pool_size=settings.pool_size,
        max_overflow=0,
        hide_parameters=True,  # they are customers' data, and a traceback goes into the log
        pool_timeout=settings.connect_timeout_s,
        pool_pre_ping=False,
        # The session used last first: its plans, temporary tables and pages are still cached.
        pool_use_lifo=True,
    )


@dataclass(frozen=True, slots=True)
class UnitOfWork:
    """An open transaction: SQLAlchemy for statements, asyncpg beneath it for COPY and arrays.

    Both act in the same transaction.
    """

    connection: AsyncConnection
    driver: Driver


@asynccontextmanager
async def unit_of_work(engine: AsyncEngine, begin: str | None = None) -> AsyncIterator[UnitOfWork]:
    """Commit at the end, roll back on any error; raises Transient for errors that pass.

    `begin` is the transaction's first statement, for instance its local settings. After a Transient
    the outcome of the COMMIT is unknown: read what was stored, never guess.
    """
    with _passing_as_transient():
        async with engine.begin() as connection:
            driver = await _begun(connection)
            if begin is not None:
                await driver.execute(begin)
            yield UnitOfWork(connection, driver)


@asynccontextmanager
async def reading(engine: AsyncEngine) -> AsyncIterator[Driver]:
    """Open a session outside any transaction: each statement is one round trip on its own.

    For reads that decide nothing that is written. Raises Transient for errors that pass.
    """
    with _passing_as_transient():
        async with engine.connect() as connection:
            raw = await connection.get_raw_connection()
            try:
                yield cast("Driver", raw.driver_connection)
            except Exception:
                # Through SQLAlchemy, which drops all connections if this one is lost.
                await connection.exec_driver_sql("SELECT 1")
                raise
            except BaseException:
                # cancelled: it is unknown what the session still does
                await connection.invalidate()
                raise


@contextmanager
def _passing_as_transient() -> Iterator[None]:
    """Raises errors that pass as Transient, all others unchanged."""
    try:
        yield
    except Transient:
        raise
    except Exception as error:
        if is_passing(error):
            raise Transient(f"PostgreSQL: {type(error).__name__}: {error}") from error
        raise


async def _begun(connection: AsyncConnection) -> Driver:
    """Returns the driver, once the transaction has begun.

    SQLAlchemy's adapter begins lazily, on its own first statement: the driver's statements must not
    run before it, or they commit on their own. Asking it to begin saves that statement.
    """
    raw = await connection.get_raw_connection()
    adapter: Any = raw.dbapi_connection
    try:
        await adapter._start_transaction()  # private, but what its first statement would do
    except Exception:  # noqa: BLE001 (raised below, or has passed)
        # Through SQLAlchemy, which drops all connections if this one is lost.
        await connection.exec_driver_sql("SELECT 1")
    except BaseException:
        # Cancelled: it is unknown whether it has begun, and its next user would be nested in it.
        await connection.invalidate()
        raise
    return cast("Driver", raw.driver_connection)
