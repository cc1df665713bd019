"""A database on a small tmpfs that can be filled up. Needs root, to mount it."""

import os
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from urllib.parse import urlsplit

import asyncpg

from tests.chaos.environment import ChaosEnvironment

SIZE_MB = 64
"""Room for a database with scoring's tables (30 MB) and the first part of a run."""


def impossible() -> str | None:
    """Returns why it cannot be done here; None: it can."""
    if os.geteuid() != 0:
        return "mounting a tmpfs needs root"
    return None


@dataclass(frozen=True, slots=True)
class Full:
    """The mounted folder."""

    folder: Path

    def fill(self) -> None:
        """Fill the folder until no page is free."""
        with (self.folder / "filler").open("wb") as file:
            try:
                while True:
                    file.write(bytes(65_536))
                    file.flush()
            except OSError:
                pass

    def free(self) -> None:
        """Make room again."""
        (self.folder / "filler").unlink(missing_ok=True)

    @classmethod
    @asynccontextmanager
    async def moved(cls, arena: ChaosEnvironment) -> AsyncIterator["Full"]:
        """Move the arena's database to the folder for the length of a block."""
        folder = Path(mkdtemp(prefix="ebbwatch-full-", dir="/var/tmp"))
        options = f"size={SIZE_MB}m,mode=0777"
        _run("mount", "-t", "tmpfs", "-o", options, "none", str(folder))
        space = f"full_{arena.place.mark}"
        database = urlsplit(arena.place.database_url).path.strip("/")
        owned = folder / "space"
        owned.mkdir(mode=0o777)
        server = arena.stack.postgres.ours
        if server.user is not None:
            _run("chown", server.user, str(owned))
        try:
            await arena.place.engine.dispose()
            await _maintain(arena, f"CREATE TABLESPACE {space} LOCATION '{owned}'")
            await _maintain(arena, f'ALTER DATABASE "{database}" SET TABLESPACE {space}')
            yield cls(folder)
        finally:
            cls(folder).free()
            for worker in arena.workers:
                if worker.running:
                    await worker.kill()
            await arena.place.engine.dispose()
            arena.stack.postgres.drop(database)
            await _maintain(arena, f"DROP TABLESPACE {space}")
            _run("umount", str(folder))
            folder.rmdir()  # noqa: ASYNC240


async def _maintain(arena: ChaosEnvironment, statement: str) -> None:
    address = urlsplit(arena.place.database_url)._replace(path="/postgres").geturl()
    connection = await asyncpg.connect(address)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


def _run(*command: str) -> None:
    subprocess.run(command, check=True)
