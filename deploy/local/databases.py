"""The stack's PostgreSQL server and the databases on it."""

import re
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from deploy.local.process import Managed, Server, StackError
from deploy.local.waiting import complete
from shared.postgres.engine import NO_ANSWER

NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
MAINTENANCE = "postgres"
"""The database that every server has, used to create others."""
EMPTY = "template1"
"""PostgreSQL's usual template of new databases."""


class Database(Managed):
    """A PostgreSQL server and the database on it that the services use."""

    what = "PostgreSQL"

    def __init__(self, url: str, server: Server | None) -> None:
        super().__init__(server)
        self.url = url

    @property
    def address(self) -> str:
        """The URL of the services' database."""
        return self.url

    def ready(self) -> bool:
        """Return whether it accepts a connection; creates the services' database if missing."""
        return complete(self._ready())

    async def _ready(self) -> bool:
        try:
            connection = await asyncpg.connect(self.url, timeout=5)
        except asyncpg.InvalidCatalogNameError:
            await self._create(urlsplit(self.url).path.strip("/"))
            return True
        except asyncpg.ClientConfigurationError as wrong:
            raise StackError(f"DATABASE_URL cannot be used: {wrong}") from wrong
        except NO_ANSWER:
            return False
        except asyncpg.PostgresError as refused:
            raise StackError(f"PostgreSQL refuses us: {refused}; check DATABASE_URL") from refused
        await connection.close()
        return True

    def fresh(self, name: str, template: str = EMPTY) -> str:
        """Create the database `name` in place of one with that name; return its URL.

        It is a copy of `template`, on which no session may be open.
        """
        if not NAME.fullmatch(name):
            raise ValueError(f"{name!r}: a database's name is a-z, 0-9 and _, 63 letters at most")
        complete(self._replace(name, template))
        return self._url_of(name)

    def drop(self, name: str) -> None:
        """Remove the database `name`, ending the sessions on it."""
        complete(self._execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'))

    async def _replace(self, name: str, template: str) -> None:
        await self._execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        await self._create(name, template)

    async def _create(self, name: str, template: str = EMPTY) -> None:
        await self._execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')

    async def _execute(self, statement: str) -> None:
        connection = await asyncpg.connect(self._url_of(MAINTENANCE), timeout=10)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    def _url_of(self, name: str) -> str:
        return urlunsplit(urlsplit(self.url)._replace(path=f"/{name}"))
