"""An installation to examine: topics, a database with every service's tables, answering ports."""

import argparse
import contextlib
import io
import json
import os
import uuid
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, redirect_stdout
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import urlsplit

import asyncpg
import sqlalchemy as sa
from pydantic import SecretStr

from deploy.doctor import command
from deploy.doctor.arguments import SERVICES
from deploy.local import topics as creating
from deploy.local.stack import LocalStack
from shared.contracts import topics
from shared.contracts.topics import Topic
from shared.http.app import SERVICE
from shared.postgres.engine import create_engine
from shared.postgres.migrations import migrate
from shared.postgres.settings import PostgresSettings
from tests.serving import Silent, serving

PASSWORD = "pass-of-the-doctor"


@dataclass(frozen=True, slots=True)
class Finding:
    """A finding as the doctor prints it with `--json`."""

    check: str
    level: str
    what: str
    do: str


@dataclass(slots=True)
class Installation:
    """Where everything is; the doctor's environment and its findings."""

    stack: LocalStack
    database_url: str
    ports: Mapping[str, int]
    mark: str = field(default_factory=lambda: uuid.uuid4().hex[:8])
    settings: dict[str, str] = field(default_factory=dict)
    """Variables that differ."""

    def topic(self, like: Topic) -> str:
        """Return this installation's name of a topic."""
        return f"{like.name}-{self.mark}"

    def environment(self) -> dict[str, str]:
        """Return the variables that the services would have."""
        read = {
            "INGEST": ("RAW", "ACTIVITY", "DEAD_LETTER"),
            "SCORING": ("ACTIVITY", "RISK", "TREATMENT", "CHANGES", "DEAD_LETTER"),
            "ALERTS": ("ACTIVITY", "RISK", "TREATMENT", "CHANGES", "DEAD_LETTER"),
        }
        named = {
            f"EBBWATCH_{service}_{'RAW_TOPICS' if name == 'RAW' else f'{name}_TOPIC'}": self.topic(
                getattr(topics, name)
            )
            for service, names in read.items()
            for name in names
        }
        ports = {f"EBBWATCH_{name.upper()}_PORT": str(port) for name, port in self.ports.items()}
        return (
            {name: value for name, value in os.environ.items() if not name.startswith("EBBWATCH_")}
            | self.stack.environment()
            | named
            | ports
            | {"DATABASE_URL": self.database_url, "EBBWATCH_INGEST_GROUP": f"ingest-{self.mark}"}
            | self.settings
        )

    async def make_topics(self, *others: Topic) -> None:
        """Create every topic as the contract says, but for those named otherwise in `others`."""
        given = {topic.name: topic for topic in others}
        wanted = [given.get(t.name, t) for t in topics.ALL]
        own = tuple(replace(topic, name=self.topic(topic)) for topic in wanted)
        await creating.create(self.stack.kafka.settings, own)

    def examine(
        self, *arguments: str, replicas: Sequence[tuple[str, str]] = ()
    ) -> tuple[int, list[Finding], str]:
        """Run the doctor; return exit status, findings and the whole output.

        `replicas`: name and address of processes that it is to ask.
        """
        clock = "clock" in arguments
        given = argparse.Namespace(json=True, service=list(replicas), broker_clock=clock)
        out = io.StringIO()
        with (
            mock.patch.dict(os.environ, self.environment(), clear=True),
            redirect_stdout(out),
        ):
            status = command.run(given)
        printed = out.getvalue()
        return status, [Finding(**each) for each in json.loads(printed)["findings"]], printed

    async def execute(self, statement: str, *values: Any) -> None:
        """Run a statement as the superuser."""
        with_rights = self.stack.postgres._url_of(urlsplit(self.database_url).path.strip("/"))
        connection = await asyncpg.connect(with_rights)
        try:
            await connection.execute(statement, *values)
        finally:
            await connection.close()

    async def insert(self, table: sa.Table, **values: Any) -> None:
        """Insert a row; other columns that must have a value get an empty one."""
        engine = create_engine(PostgresSettings(url=SecretStr(self.database_url)), "test")
        needed = {
            column.name: _empty(column)
            for column in table.columns
            if not column.nullable and column.server_default is None and column.identity is None
        }
        async with engine.begin() as connection:
            await connection.execute(table.insert().values({**needed, **values}))
        await engine.dispose()


def _empty(column: "sa.Column[Any]") -> Any:
    kind = column.type
    if isinstance(kind, sa.ARRAY | sa.JSON):
        return []
    if isinstance(kind, sa.LargeBinary):
        return os.urandom(8)
    return {int: 0, float: 0.0, bool: False}.get(kind.python_type, "")


async def tables(url: str) -> None:
    """Make the tables of all services."""
    engine = create_engine(PostgresSettings(url=SecretStr(url)), "test")
    for service in SERVICES:
        await migrate(engine, service, Path(f"services/{service}/store/versions"))
    await engine.dispose()


async def plain_role(place: Installation) -> str:
    """Make a role that is no superuser, with the rights on the tables; return its URL."""
    name = f"plain_{place.mark}"
    await place.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{PASSWORD}'")
    for service in SERVICES:
        await place.execute(f"GRANT USAGE ON SCHEMA {service} TO {name}")
        await place.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA {service} TO {name}")
        await place.execute(f"GRANT ALL ON ALL SEQUENCES IN SCHEMA {service} TO {name}")
    url = urlsplit(place.database_url)
    return f"postgresql://{name}:{PASSWORD}@{url.hostname}:{url.port}{url.path}"


def answering(answers: Mapping[str, str], **headers: str) -> AbstractContextManager[int]:
    """Serve these bodies by path on a free port, with these headers (`_` for `-`)."""

    class Handler(Silent):
        def do_GET(self) -> None:
            body = answers.get(self.path, "").encode()
            self.send_response(200)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(body)

    return serving(Handler)


def service(name: str, model: str = "rule-2", revision: str = "abc") -> AbstractContextManager[int]:
    """Serve what a service answers that is ready."""
    info = f'ebbwatch_scoring_model_info{{version="{model}"}} 1.0\n' if name == "scoring" else ""
    answers = {
        "/readyz": '{"missing": {}}',
        "/metrics": info
        + f'ebbwatch_{name}_build_info{{version="0.1.0",revision="{revision}"}} 1.0\n',
    }
    return answering(answers, **{SERVICE.replace("-", "_"): name})
