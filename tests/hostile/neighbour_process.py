"""The neighbour's process, as controlled by the run: starts phases, and reads its report at the
end."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

import msgspec

from deploy.demo.services import NAMES
from tests.hostile.environment import HostileEnvironment
from tests.hostile.neighbour import LATE_S_MAX, Config, Seen

LINE_MAX: Final = 2**26
"""Bytes of its report: some hundred thousand times."""


@dataclass(slots=True)
class Beside:
    """The neighbour."""

    process: asyncio.subprocess.Process
    seen: Seen = field(default_factory=Seen)

    async def phase(self, name: str) -> None:
        """Begin a phase, to which further measurements belong."""
        await self._write(name.encode())

    async def _write(self, line: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + b"\n")
        await self.process.stdin.drain()

    async def begin(self, config: Config) -> None:
        """Return once it is running."""
        await self._write(msgspec.json.encode(config))
        assert self.process.stdout is not None
        line = await self.process.stdout.readline()
        assert line == b"ready\n", "the neighbour did not begin: its error is above"

    async def end(self) -> None:
        """Let it end and read its report."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        async with asyncio.timeout(LATE_S_MAX + 30):
            self.seen = msgspec.json.decode(await self.process.stdout.readline(), type=Seen)
            await self.process.wait()


@asynccontextmanager
async def beside(environment: HostileEnvironment) -> AsyncIterator[Beside]:
    """Runs a neighbour within the block; `seen` is available afterwards."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.hostile.neighbour"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        limit=LINE_MAX,
    )
    made = Beside(process)
    urls = {name: environment.services.url(name) for name in NAMES}
    try:
        await made.begin(
            Config(urls, environment.tokens, environment.stack.kafka.settings.bootstrap_servers)
        )
        yield made
        await made.end()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
