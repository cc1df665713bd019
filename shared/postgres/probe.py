"""Checks whether PostgreSQL answers, for the readiness probe, on its own connection.

A connection of the pool is not used: waiting for a server that hangs can exhaust the pool.
"""

import contextlib
from typing import Final

import asyncpg

from shared.postgres.engine import TROUBLE, Driver
from shared.postgres.settings import PostgresSettings

PROBE_S_MAX: Final = 10.0
"""Seconds until a query counts as lost with its connection: a server that was frozen for a while
answers within it once it goes on, and one behind a cut line never does."""


class PostgresProbe:
    """A readiness check; call `close` at the end."""

    def __init__(self, settings: PostgresSettings, application: str) -> None:
        self._url = settings.url
        self._application = f"ebbwatch-{application}-probe"
        self._connection: Driver | None = None

    async def __call__(self) -> str | None:
        """Return None when the server answers, else the fault, without its address."""
        try:
            if self._connection is None or self._connection.is_closed():
                self._connection = await asyncpg.connect(
                    self._url.get_secret_value(),
                    timeout=PROBE_S_MAX,
                    server_settings={"application_name": self._application},
                )
            await self._connection.execute("SELECT 1", timeout=PROBE_S_MAX)
        except TROUBLE as error:
            self.close()
            return f"PostgreSQL does not answer: {type(error).__name__}"
        return None

    def close(self) -> None:
        """Close the connection at once: nothing has to be finished on it."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(OSError):
                connection.terminate()
