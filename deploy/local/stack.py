"""The local stack: one Kafka broker and one PostgreSQL server, started and stopped together.

    with LocalStack() as stack:
        subprocess.run(command, env=os.environ | stack.environment())

Whatever ends this process, kill -9 included, ends the servers it started; a second start on the
same data directory waits for that and goes on with the data. Not for production.
"""

import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from deploy.local import broker, postgres
from deploy.local.broker import Broker, BrokerKind
from deploy.local.databases import Database
from deploy.local.process import StackError, holders, lock_now

ROOT = Path(__file__).parents[2]
DATA = ROOT / ".local"
KAFKA_CACHE = DATA / "kafka"
"""Folder of the jars, for every data directory of this working copy."""

DESCRIPTION = "stack.json"
LOCK = "stack.lock"


def announce(message: str) -> None:
    """Prints a message for the person at the terminal."""
    print(f"local stack: {message}", file=sys.stderr, flush=True)


class InUse(StackError):  # noqa: N818 (describes the folder)
    """Another stack runs on the same data."""


class LocalStack:
    """Kafka and PostgreSQL below the folder `data`.

    `DATABASE_URL`, `KAFKA_BOOTSTRAP_SERVERS` and `BROKER` in `environ` are honoured as described in
    `deploy.local.broker` and `deploy.local.postgres`. `wipe` starts without the data of earlier
    runs (external servers keep theirs). `kafka_settings` and `postgres_settings` replace or extend
    ours.
    """

    def __init__(
        self,
        data: Path = DATA,
        *,
        wipe: bool = False,
        environ: Mapping[str, str] = os.environ,
        kafka_settings: Mapping[str, str] | None = None,
        postgres_settings: Mapping[str, str] | None = None,
        announce: Callable[[str], None] = announce,
    ) -> None:
        self._data = data.absolute()
        self._wipe = wipe
        self._environ = environ
        self._kafka_settings = kafka_settings or {}
        self._postgres_settings = postgres_settings or {}
        self._announce = announce
        self._lock: int | None = None
        self.kafka: Broker
        self.postgres: Database

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def broker(self) -> BrokerKind:
        """The kind of broker that runs: `kafka`, `embedded` or `external`."""
        return self.kafka.kind

    @property
    def kafka_bootstrap(self) -> str:
        """The broker's address for any Kafka client."""
        return self.kafka.address

    @property
    def database_url(self) -> str:
        """The URL of the services' database, with its password."""
        return self.postgres.address

    def forget_dead_members(self) -> None:
        """Let consumer groups go on after a member was killed or frozen.

        Apache Kafka does so by itself when the member's session is over. The embedded broker waits
        for a dead member for ever; a restart makes it forget the member, and nothing else.
        """
        if self.broker == "embedded":
            self.kafka.restart()

    def environment(self) -> dict[str, str]:
        """Return the variables that connect a service to this stack."""
        return {
            "KAFKA_BOOTSTRAP_SERVERS": self.kafka.address,
            "KAFKA_SECURITY_PROTOCOL": self.kafka.settings.security_protocol,
            "DATABASE_URL": self.postgres.address,
        }

    def start(self) -> None:
        """Start both and return when both answer; raises `StackError` with the remedy."""
        lock_file = self._data / LOCK
        self._lock = lock_now(lock_file)
        if self._lock is None:
            users = ", ".join(str(process.pid) for process in holders(lock_file))
            raise InUse(
                f"{self._data} is in use by process {users}: stop it (`python -m deploy.local "
                f"--data {self._data} down`), or give this stack another folder"
            )
        try:
            self._prepare()
            self.kafka.launch()
            self.postgres.start()
            self.kafka.wait_ready()
            self._describe()
        except BaseException:
            self.stop()
            raise

    def _prepare(self) -> None:
        self.kafka = broker.choose(
            self._data, KAFKA_CACHE, self._environ, self._kafka_settings, self._announce
        )
        if url := self._environ.get("DATABASE_URL"):
            self.postgres = Database(url, None)
        else:
            server, url = postgres.server(self._data / "postgres", self._postgres_settings)
            self.postgres = Database(url, server)
        for part in (self.kafka, self.postgres):
            if self._wipe and part.server is not None:
                part.server.wipe()

    def _describe(self) -> None:
        """Write the stack's addresses to a file, for `python -m deploy.local status` and other
        tools."""
        described = {"broker": self.broker, **self.environment()}
        file = self._data / DESCRIPTION
        file.touch(mode=0o600)
        file.write_text(json.dumps(described))

    def stop(self) -> None:
        """Stop what this stack started; the data stays. Safe to repeat."""
        parts = [getattr(self, name) for name in ("kafka", "postgres") if hasattr(self, name)]
        for part in parts:
            part.release()
        for part in parts:
            part.stop()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
