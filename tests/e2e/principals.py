"""Principals of every kind, who ask the routes of the running services."""

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import httpx
from pydantic import SecretStr

from services.alerts.store import tables as alerts_tables
from services.ingest.store import tables as ingest_tables
from services.scoring.store import tables as scoring_tables
from shared.http.access import Tokens
from shared.http.holder import Person
from shared.http.on_behalf import HEADER, signed
from shared.http.scopes import ADMIN, ON_BEHALF, ROLES, SCOPES
from shared.postgres.engine import create_engine
from shared.postgres.settings import PostgresSettings
from shared.runtime.clock import SystemClock
from tests.e2e.services_on_history import World

TABLES: Final = {
    "ingest": ingest_tables.api_token,
    "scoring": scoring_tables.api_token,
    "alerts": alerts_tables.api_token,
}
OPEN: Final = {"/livez", "/readyz", "/startupz", "/metrics", "/openapi.json"}
SIGNED: Final = ("/v1/callbacks/", "/v1/sources/")
"""Routes where a signature takes the place of a token."""
NOW = datetime.now(UTC).replace(microsecond=0)
OWN, FOREIGN = "minerva-own", "brutus-foreign"
OWNER_OF: Final = {OWN: "o-1", FOREIGN: "o-2"}
MANAGED: Final = "o-1"
LIMITED: Final = [scope for scope in SCOPES if scope not in {ADMIN, ON_BEHALF}]
"""Everything that a token limited to owners may have."""
CHIEF: Final = Person("chief", (ADMIN,), None)
PERSONS: Final = {
    **{
        f"as {role}": ("console", Person(f"{role}-1", (role,), frozenset({MANAGED})))
        for role in ROLES
    },
    "every role": ("console", Person("all-1", tuple(ROLES), frozenset({MANAGED}))),
    "chief, limited token": ("limited console", CHIEF),
    "foreign, limited token": ("limited console", Person("o-2", ("owner",), frozenset({"o-2"}))),
    "nobody's": ("console", Person("o-3", ("owner",), frozenset())),
}
"""Kinds of principals on behalf of a person, who see no foreign row: by which token, and whom."""


@dataclass(frozen=True, slots=True)
class Operation:
    """A route of a service, as its document describes it."""

    service: str
    method: str
    template: str
    path: str
    """With the foreign customer's ids."""
    scopes: Sequence[str] | None
    audit: str | None

    @property
    def needs_token(self) -> bool:
        """Whether a token opens it, and nothing else."""
        return self.path not in OPEN and not self.path.startswith(SIGNED)


def _event(customer: str, type_: str, number: str, at: datetime, **data: Any) -> dict[str, Any]:
    return {
        "specversion": "1.0", "type": f"io.ebbwatch.{type_}", "source": "/shop",
        "id": f"{customer}-{number}", "subject": customer, "time": at.isoformat(), "data": data,
    }  # fmt: skip


def _story(customer: str) -> list[dict[str, Any]]:
    """Return a regular buyer who has stopped and complained, with an owner."""
    owner = {"id": OWNER_OF[customer]}
    return [
        *(
            _event(customer, "purchase", str(n), NOW - timedelta(days=17 + 7 * n), amount="20.50",
                   currency="USD")
            for n in range(20)
        ),
        _event(customer, "profile", "p", NOW - timedelta(days=100), name=customer, owner=owner),
        _event(customer, "feedback", "f", NOW - timedelta(days=3), kind="complaint_opened"),
    ]  # fmt: skip


@dataclass(slots=True)
class Asked:
    """The services, with a token of each kind for each, and the tasks by customer."""

    world: World
    client: httpx.AsyncClient
    tokens: dict[tuple[str, str], tuple[str, str]] = field(default_factory=dict)
    """Token and signing secret by service and kind."""
    tasks: dict[str, str] = field(default_factory=dict)

    async def make_tokens(self) -> None:
        """One for each scope, one limited to an owner, two that may name a person."""
        settings = PostgresSettings(url=SecretStr(self.world.database_url))
        engine = create_engine(settings, "test")
        for service, table in TABLES.items():
            tokens = Tokens(engine, table, SystemClock())
            made = {scope: await tokens.create(scope, [scope]) for scope in SCOPES}
            made["limited"] = await tokens.create("limited", LIMITED, owner_ids=[MANAGED])
            made["console"] = await tokens.create("console", [ADMIN, ON_BEHALF])
            made["limited console"] = await tokens.create(
                "limited console", [*LIMITED, ON_BEHALF], owner_ids=[MANAGED]
            )
            for kind, token in made.items():
                secret = await tokens.signing_secret(token)
                self.tokens[service, kind] = token, secret or ""
        await engine.dispose()

    def headers(self, service: str, kind: str, person: Person | None = None) -> dict[str, str]:
        """Return the headers of a kind of principal: of a token, or of one for a person."""
        if kind in PERSONS:
            kind, person = PERSONS[kind]
        if (service, kind) not in self.tokens:
            return {}
        token, secret = self.tokens[service, kind]
        given = {"Authorization": f"Bearer {token}"}
        if person is not None:
            given[HEADER] = signed(person, secret, datetime.now(UTC))
        return given

    async def ask(
        self,
        service: str,
        kind: str,
        method: str,
        path: str,
        person: Person | None = None,
        **given: Any,
    ) -> httpx.Response:
        """Send one request as a principal of this kind."""
        url = self.world.services.url(service) + path
        headers = self.headers(service, kind, person)
        return await self.client.request(method, url, headers=headers, **given)

    async def statuses(self, each: Operation, kinds: Sequence[str]) -> dict[str, int]:
        """Return what each kind of principal is answered, with an empty document as content."""
        given: dict[str, Any] = {} if each.method == "GET" else {"json": {}}
        answers = await asyncio.gather(
            *(self.ask(each.service, kind, each.method, each.path, **given) for kind in kinds)
        )
        return {kind: one.status_code for kind, one in zip(kinds, answers, strict=True)}

    async def publish(self) -> None:
        """Publish both stories; each customer has a task then."""
        events = [each for customer in OWNER_OF for each in _story(customer)]
        answer = await self.ask("ingest", "admin", "POST", "/v1/events", json=events)
        assert answer.status_code == 202, answer.text
        await self.world.settled()
        found = (await self.ask("alerts", "admin", "GET", "/v1/tasks")).json()["items"]
        self.tasks = {task["customer"]["id"]: task["id"] for task in found}
        assert set(self.tasks) == set(OWNER_OF)

    async def operations(self) -> list[Operation]:
        """Return every operation of every service."""
        values = {"customer_id": FOREIGN, "task_id": self.tasks[FOREIGN], "owner_id": "o-2"}
        found = []
        for service in TABLES:
            url = self.world.services.url(service) + "/openapi.json"
            document = (await self.client.get(url)).json()
            for template, methods in document["paths"].items():
                path = re.sub(r"\{([^}]*)\}", lambda part: values.get(part.group(1), "1"), template)
                found += [
                    Operation(
                        service, method.upper(), template, path,
                        described.get("x-scopes"), described.get("x-audit"),
                    )
                    for method, described in methods.items()
                ]  # fmt: skip
        assert len(found) > 70
        return found
