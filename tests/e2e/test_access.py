"""Every route of the running services, asked by every kind of principal, shows no foreign row."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from pydantic import SecretStr

from services.alerts.store import tables as alerts_tables
from services.ingest.store import tables as ingest_tables
from services.scoring.store import tables as scoring_tables
from shared.http.access import SCOPES, Tokens
from shared.postgres.engine import create_engine
from shared.postgres.settings import PostgresSettings
from shared.runtime.clock import SystemClock
from tests.e2e.services_on_history import World

pytestmark = [pytest.mark.timeout(400), pytest.mark.access]

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
class _Asked:
    """The services, with a token of each kind for each, and the tasks by customer."""

    world: World
    client: httpx.AsyncClient
    headers: dict[tuple[str, str], dict[str, str]] = field(default_factory=dict)
    """By service and kind of principal."""
    tasks: dict[str, str] = field(default_factory=dict)

    async def make_tokens(self) -> None:
        """One that may do everything, one for each scope, and one limited to an owner."""
        settings = PostgresSettings(url=SecretStr(self.world.database_url))
        engine = create_engine(settings, "test")
        for service, table in TABLES.items():
            tokens = Tokens(engine, table, SystemClock())
            made = {scope: await tokens.create(scope, [scope]) for scope in SCOPES}
            every = [scope for scope in SCOPES if scope != "admin"]
            made["limited"] = await tokens.create("limited", every, owner_ids=[MANAGED])
            for kind, token in made.items():
                self.headers[service, kind] = {"Authorization": f"Bearer {token}"}
        await engine.dispose()

    async def ask(
        self, service: str, kind: str, method: str, path: str, **given: Any
    ) -> httpx.Response:
        """Send one request as a principal of this kind."""
        url = self.world.services.url(service) + path
        headers = self.headers.get((service, kind), {})
        return await self.client.request(method, url, headers=headers, **given)

    async def publish(self) -> None:
        """Publish both stories; each customer has a task then."""
        events = [each for customer in OWNER_OF for each in _story(customer)]
        answer = await self.ask("ingest", "admin", "POST", "/v1/events", json=events)
        assert answer.status_code == 202, answer.text
        await self.world.settled()
        found = (await self.ask("alerts", "admin", "GET", "/v1/tasks")).json()["items"]
        self.tasks = {task["customer"]["id"]: task["id"] for task in found}
        assert set(self.tasks) == set(OWNER_OF)

    async def routes(self) -> Iterator[tuple[str, str, str]]:
        """Return (service, method, path with the foreign customer's ids) of every route."""
        values = {"customer_id": FOREIGN, "task_id": self.tasks[FOREIGN], "owner_id": "o-2"}
        found = []
        for service in TABLES:
            document = (await self.client.get(
                self.world.services.url(service) + "/openapi.json")).json()  # fmt: skip
            for template, methods in document["paths"].items():
                path = template
                for name in _names(template):
                    path = path.replace(f"{{{name}}}", values.get(name, "1"))
                found += [(service, method.upper(), path) for method in methods]
        assert len(found) > 60
        return iter(found)


def _names(template: str) -> list[str]:
    return [part.partition("}")[0] for part in template.split("{")[1:]]


async def _no_foreign_row(asked: _Asked) -> None:
    """Ask every route for the foreign customer: as nobody, and limited to another owner."""
    for service, method, path in await asked.routes():
        if path in OPEN or path.startswith(SIGNED):
            continue
        nobody = await asked.ask(service, "nobody", method, path)
        assert nobody.status_code == 401, (method, path, nobody.text)
        limited = await asked.ask(service, "limited", method, path, json={})
        where = (service, method, path, limited.status_code, limited.text[:300])
        # A refusal may repeat the id that was asked for.
        assert limited.status_code in {403, 404} or FOREIGN not in limited.text, where
        if FOREIGN in path or asked.tasks[FOREIGN] in path:
            assert limited.status_code in {403, 404}, where


async def _own_rows(asked: _Asked) -> None:
    """The limited principal sees and changes its own."""
    task = asked.tasks[OWN]
    for path in ("/v1/tasks", "/v1/queue", f"/v1/tasks/{task}"):
        answer = await asked.ask("alerts", "limited", "GET", path)
        assert answer.status_code == 200, answer.text
        assert OWN in answer.text
    for path in ("/v1/customers", f"/v1/customers/{OWN}", f"/v1/customers/{OWN}/history"):
        answer = await asked.ask("scoring", "limited", "GET", path)
        assert answer.status_code == 200, answer.text
        assert OWN in answer.text
    listed = await asked.ask("scoring", "limited", "GET", "/v1/customers?owner=o-2")
    assert listed.json()["items"] == []
    done = await asked.ask("alerts", "limited", "POST", f"/v1/tasks/{task}/start", json={})
    assert done.status_code == 200, done.text
    foreign = f"/v1/tasks/{asked.tasks[FOREIGN]}/start"
    refused = await asked.ask("alerts", "limited", "POST", foreign, json={})
    unknown = await asked.ask("alerts", "limited", "POST", "/v1/tasks/rt_none/start", json={})
    assert refused.status_code == unknown.status_code == 404, "existing and missing look the same"


async def _a_manager_sees_the_team(asked: _Asked) -> None:
    """Once o-1 manages o-2, as of now; not a moment longer."""
    path = f"/v1/tasks/{asked.tasks[FOREIGN]}"
    for manager, status in ((MANAGED, 200), ("o-9", 404)):
        body = {"manager_id": manager}
        put = await asked.ask("alerts", "admin", "PUT", "/v1/owners/o-2", json=body)
        assert put.status_code == 200, put.text
        assert (await asked.ask("alerts", "limited", "GET", path)).status_code == status


async def _scopes_are_needed(asked: _Asked) -> None:
    """A token opens what its scope names, and nothing else."""
    for service, method, path in await asked.routes():
        if path in OPEN or path.startswith(SIGNED) or method != "GET":
            continue
        admitted = {
            scope
            for scope in SCOPES
            if (await asked.ask(service, scope, method, path)).status_code not in {401, 403}
        }
        assert "admin" in admitted, path
        assert len(admitted) == 2 or admitted == {"admin"}, (path, admitted)


async def test_no_principal_sees_a_foreign_row(folder: Path, environ: dict[str, str]) -> None:
    """Every route, every kind of principal, own and foreign rows."""
    async with (
        World.open(folder, environ, clock="live") as world,
        httpx.AsyncClient(timeout=30) as client,
    ):
        asked = _Asked(world, client)
        await asked.make_tokens()
        await asked.publish()
        await _no_foreign_row(asked)
        await _own_rows(asked)
        await _a_manager_sees_the_team(asked)
        await _scopes_are_needed(asked)
