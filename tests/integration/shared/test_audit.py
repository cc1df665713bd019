"""The audit: entries are written before the change, completed after it, and never changed."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import asyncpg
import httpx
import pytest
from fastapi import FastAPI
from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncEngine

from services.scoring.store.tables import SCHEMA, api_token
from shared.http.access import Tokens
from shared.http.app import create_app
from shared.http.audit_routes import add_audit_routes
from shared.http.auditing import LEFT_OUT, Auditing
from shared.http.borders import Limits
from shared.postgres.audit import KEPT_DAYS_MIN, Audit, AuditRetention, Change, Wanted
from shared.postgres.engine import create_engine, unit_of_work
from shared.postgres.migrations import migrate
from shared.postgres.settings import PostgresSettings
from shared.runtime.health import Health
from tests.fakes.clock import SetClock

pytestmark = [pytest.mark.stack, pytest.mark.audit]


@pytest.fixture
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    """Provide scoring's tables; any service's would do."""
    engine = create_engine(PostgresSettings(url=SecretStr(database_url)), "test")
    await migrate(engine, SCHEMA, Path("services/scoring/store/versions"))
    yield engine
    await engine.dispose()


def served(engine: AsyncEngine, clock: SetClock) -> FastAPI:
    """Return an application with routes that change something, and one that fails."""
    tokens, audit = Tokens(engine, api_token, clock), Audit(engine, SCHEMA)
    limits = Limits(
        guard=tokens, audit=Auditing(entries=audit, clock=clock, skipped=("/v1/dry-run",))
    )
    app = create_app("test", Health(clock), limits)

    @app.put("/v1/things/{thing_id}")
    async def put(thing_id: str) -> dict[str, str]:
        return {"id": thing_id}

    @app.put("/v1/grades/{customer_id:path}", status_code=204)
    async def grade(customer_id: str) -> None:
        assert customer_id

    @app.post("/v1/broken")
    async def broken() -> None:
        raise RuntimeError("a bug")

    @app.post("/v1/dry-run")
    async def dry_run() -> None:
        return

    @app.get("/v1/things")
    async def read() -> list[str]:
        return []

    add_audit_routes(app, audit, tokens)
    return app


@pytest.fixture
async def client(engine: AsyncEngine) -> AsyncIterator[httpx.AsyncClient]:
    """Provide a client named ann with every right."""
    clock = SetClock()
    token = await Tokens(engine, api_token, clock).create("ann", ["admin"])
    transport = httpx.ASGITransport(served(engine, clock), raise_app_exceptions=False)
    async with httpx.AsyncClient(
        transport=transport, base_url="http://t", headers={"Authorization": f"Bearer {token}"}
    ) as made:
        yield made


async def entries(client: httpx.AsyncClient, **filters: str) -> list[tuple[str, str, object]]:
    """Return what `GET /v1/audit` lists: action, outcome and content."""
    found = (await client.get("/v1/audit", params=filters)).json()["items"]
    return [(each["action"], each["outcome"], each["sent"]) for each in found]


async def test_each_change_has_an_entry(client: httpx.AsyncClient) -> None:
    """Also one that fails; secrets are left out; what only reads has none."""
    await client.put("/v1/things/t-1", json={"name": "x", "secret": "s3cret", "in": {"token": "t"}})
    await client.post("/v1/broken")
    await client.post("/v1/dry-run")
    await client.get("/v1/things")
    await client.put("/v1/nowhere", json={})
    assert await entries(client) == [
        ("POST /v1/broken", "500", None),
        (
            "PUT /v1/things/{thing_id}",
            "200",
            {"name": "x", "secret": LEFT_OUT, "in": {"token": LEFT_OUT}},
        ),
    ]
    (newest, _) = (await client.get("/v1/audit")).json()["items"]
    assert newest["actor"] == "ann"
    assert (await client.get("/v1/audit?action=things")).json()["items"][0]["target"] == {
        "thing_id": "t-1"
    }


async def test_a_customer_is_found_but_not_named(
    client: httpx.AsyncClient, database_url: str
) -> None:
    """The table keeps a mark: an erased person is in no entry, and an auditor finds the changes."""
    await client.put("/v1/grades/ann%2F7", json={"reason": "Ann asked"})
    assert await entries(client, customer_id="ann/7") == [
        ("PUT /v1/grades/{customer_id:path}", "204", None)
    ]
    assert await entries(client, customer_id="bob") == []
    connection = await asyncpg.connect(database_url)
    rows = await connection.fetch("SELECT a::text AS row FROM scoring.audit a")
    await connection.close()
    assert not any("ann/7" in row["row"] or "Ann asked" in row["row"] for row in rows)


async def test_no_entry_is_changed_or_deleted(
    client: httpx.AsyncClient, engine: AsyncEngine
) -> None:
    """PostgreSQL refuses it, whoever asks; only the outcome is added, once."""
    await client.put("/v1/things/t-1", json={})
    for statement in (
        "UPDATE scoring.audit SET actor = 'bob'",
        "UPDATE scoring.audit SET outcome = '404'",
        "DELETE FROM scoring.audit",
        "TRUNCATE scoring.audit",
    ):
        with pytest.raises(asyncpg.RaiseError, match="append-only"):
            async with unit_of_work(engine) as work:
                await work.driver.execute(statement)


async def test_without_an_entry_nothing_is_changed(engine: AsyncEngine) -> None:
    """A change that cannot be recorded is refused; one that did not end is found."""
    audit, clock = Audit(engine, SCHEMA), SetClock()
    await audit.begin(Change(actor="a", origin="o", action="x", target={}), clock.now())
    (open_,) = await audit.find(Wanted(), 10)
    assert (open_.outcome, open_.ended_at) == (None, None)


async def test_old_entries_go_after_the_retention(engine: AsyncEngine) -> None:
    """Never within a year, whatever is set."""
    clock = SetClock()
    audit = Audit(engine, SCHEMA)
    change = Change(actor="a", origin="o", action="x", target={})
    wall = SetClock()
    async with unit_of_work(engine) as work:
        wall.at = await work.driver.fetchval("SELECT now()")
    old = await audit.begin(change, wall.at - timedelta(days=KEPT_DAYS_MIN + 2))
    young = await audit.begin(change, wall.at - timedelta(days=KEPT_DAYS_MIN - 2))
    clock.at = wall.at
    await AuditRetention(audit, clock, days=1).once()
    assert [entry.id for entry in await audit.find(Wanted(), 10)] == [young]
    assert old != young
