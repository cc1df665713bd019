"""The audit: entries are written before the change, completed after it, and never changed."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import asyncpg
import httpx
import pytest
from fastapi import FastAPI, Request
from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncEngine

from services.scoring.store.audited import GRADE, VALUE_POLICY
from services.scoring.store.definitions import Decisions
from services.scoring.store.tables import SCHEMA, api_token
from shared.http.access import Tokens
from shared.http.app import create_app
from shared.http.audit_routes import add_audit_routes
from shared.http.auditing import Auditing
from shared.http.borders import BodyRule, Limits
from shared.http.declared import audits
from shared.http.holder import Person
from shared.http.on_behalf import HEADER, signed
from shared.kernel.left_out import LEFT_OUT
from shared.postgres.audit import KEPT_DAYS_MIN, Audit, AuditRetention, Change, State, Wanted
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
    raw = {"/v1/raw": BodyRule(raw=True)}
    limits = Limits(guard=tokens, audit=Auditing(entries=audit, clock=clock), bodies=raw)
    app = create_app("test", Health(clock), limits)

    @app.put("/v1/things/{thing_id}")
    @audits("kept")
    async def put(thing_id: str) -> dict[str, str]:
        return {"id": thing_id}

    @app.put("/v1/raw", status_code=204)
    @audits("kept")
    async def put_raw(request: Request) -> None:
        assert await request.body()

    @app.put("/v1/grades/{customer_id:path}", status_code=204)
    @audits("personal", GRADE)
    async def grade(customer_id: str) -> None:
        await Decisions(engine).set_grade(customer_id, "vip", "Ann asked", clock.now(), clock.now())

    @app.put("/v1/value/policy", status_code=204)
    @audits("kept", VALUE_POLICY)
    async def policy(body: dict[str, str]) -> None:
        await Decisions(engine).save_policy(body["policy"], "plan", clock.now())

    @app.put("/v1/new", status_code=204)
    async def undeclared(body: dict[str, str]) -> None:
        assert body

    @app.post("/v1/broken")
    async def broken() -> None:
        raise RuntimeError("a bug")

    @app.post("/v1/dry-run")
    @audits("reads")
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
    tokens = Tokens(engine, api_token, clock)
    token = await tokens.create("ann", ["admin", "on_behalf"])
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


async def test_an_entry_has_what_was_there_before_and_after(client: httpx.AsyncClient) -> None:
    """Values as they are stored; of what nobody sent, nothing."""
    for policy in ('{"margin": 0.1}', '{"margin": 0.2}'):
        answer = await client.put("/v1/value/policy", json={"policy": policy})
        assert answer.status_code == 204
    second, first = (await client.get("/v1/audit")).json()["items"]
    one, two = ({"version": n, "policy": {"margin": n / 10}} for n in (1, 2))
    assert (first["before"], first["after"]) == (None, one)
    assert (second["before"], second["after"]) == (one, two)


async def test_what_a_customer_had_is_kept_without_words(client: httpx.AsyncClient) -> None:
    """The grade before and after, by any id of the customer; never the reason."""
    for _ in range(2):
        await client.put("/v1/grades/ann%2F7", json={"reason": "Ann asked"})
    newest = (await client.get("/v1/audit")).json()["items"][0]
    assert newest["before"]["grade"] == newest["after"]["grade"] == "vip"
    assert "reason" not in newest["before"]
    assert newest["sent"] is None


async def test_a_route_that_declares_nothing_keeps_no_content(client: httpx.AsyncClient) -> None:
    """So that a new route cannot store by mistake what the table never gives back."""
    await client.put("/v1/new", json={"name": "Ann"})
    assert await entries(client) == [("PUT /v1/new", "204", None)]


@pytest.mark.parametrize("body", [b'{"name": "\xed\xa0\x80"}', b"\xff", b"[" * 5_000, b"1" * 9_000])
async def test_content_that_is_no_text_is_kept_as_its_size(
    client: httpx.AsyncClient, body: bytes
) -> None:
    """The entry is written before the route has read the content."""
    headers = {"Content-Type": "application/json"}
    assert (await client.put("/v1/raw", content=body, headers=headers)).status_code == 204
    ((_, _, sent),) = await entries(client)
    assert str(sent).startswith(f"({len(body):,} bytes")


async def test_an_entry_says_for_whom(client: httpx.AsyncClient, engine: AsyncEngine) -> None:
    """Token and person; either finds it."""
    tokens = Tokens(engine, api_token, SetClock())
    secret = await tokens.signing_secret(client.headers["Authorization"].partition(" ")[2])
    assert secret is not None
    header = signed(Person("o-1", ("admin",), None), secret, SetClock().now())
    await client.put("/v1/things/t-1", json={}, headers={HEADER: header})
    await client.put("/v1/things/t-2", json={})
    (found,) = (await client.get("/v1/audit?actor=o-1")).json()["items"]
    assert (found["actor"], found["on_behalf_of"]) == ("ann", "o-1")
    assert len(await entries(client, actor="ann")) == 2


@pytest.mark.parametrize("key", ["9" * 400, "a\\u0000b", "\\ud800", "é" * 300])
async def test_a_key_of_any_form_is_looked_for_or_not(client: httpx.AsyncClient, key: str) -> None:
    """The entry is written before the route has checked its values."""
    headers = {"Content-Type": "application/json"}
    body = f'{{"customer_id": "{key}", "policy": "{{}}"}}'.encode()
    answer = await client.put("/v1/value/policy", content=body, headers=headers)
    assert answer.status_code in {204, 422}


async def test_a_large_state_is_kept_as_its_size(engine: AsyncEngine) -> None:
    """Nothing makes an entry larger than its bound."""
    audit, at = Audit(engine, SCHEMA), SetClock().now()
    large = State("SELECT repeat('x', 100000) AS text")
    change = Change(actor="a", origin="o", action="x", target={}, state=large)
    await audit.end(await audit.begin(change, at), change, "200", at)
    (found,) = await audit.find(Wanted(), 10)
    assert found.before == found.after == "(100,011 bytes)"


async def test_words_about_a_customer_are_left_out(engine: AsyncEngine) -> None:
    """Also of a command's arguments; those about a policy stay."""
    audit, at = Audit(engine, SCHEMA), SetClock().now()
    for customer in ("ann", None):
        target = {"reason": "on leave", "file": "f", "api_key": "k"}
        change = Change(actor="a", origin="o", action="x", target=target, customer_id=customer)
        await audit.begin(change, at)
    plain, about = await audit.find(Wanted(), 10)
    assert about.target == {"reason": LEFT_OUT, "file": "f", "api_key": LEFT_OUT}
    assert plain.target == {"reason": "on leave", "file": "f", "api_key": LEFT_OUT}


async def test_no_entry_is_changed_or_deleted(
    client: httpx.AsyncClient, engine: AsyncEngine
) -> None:
    """PostgreSQL refuses it, whoever asks; only the outcome is added, once."""
    await client.put("/v1/things/t-1", json={})
    for statement in (
        "UPDATE scoring.audit SET actor = 'bob'",
        "UPDATE scoring.audit SET outcome = '404'",
        "UPDATE scoring.audit SET after = '1'",
        "UPDATE scoring.audit SET before = '1', outcome = 'x'",
        "UPDATE scoring.audit SET on_behalf_of = 'bob'",
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
