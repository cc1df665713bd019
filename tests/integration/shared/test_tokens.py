"""Access to the HTTP API: tokens are made, stored, checked and revoked (R21)."""

import hashlib
from collections.abc import AsyncIterator
from datetime import timedelta

import httpx
import pytest
import sqlalchemy as sa
from fastapi import Depends
from sqlalchemy.ext.asyncio import AsyncEngine

from shared.http.access import PREFIX, Tokens, describe, require
from shared.http.app import create_app
from shared.http.problems import PROBLEM_JSON
from shared.http.scopes import SCOPES
from shared.kernel.errors import Invalid
from shared.postgres.engine import create_engine, unit_of_work
from shared.postgres.settings import PostgresSettings
from shared.runtime.health import Health
from tests.fakes.clock import SetClock
from tests.integration.shared.tables import token as token_table

pytestmark = [pytest.mark.stack, pytest.mark.access]


@pytest.fixture
def clock() -> SetClock:
    """Provide the clock of making and revoking tokens."""
    return SetClock()


@pytest.fixture
def tokens(engine: AsyncEngine, clock: SetClock) -> Tokens:
    """Provide the tokens of the test's schema."""
    return Tokens(engine, token_table, clock)


def client_of(tokens: Tokens) -> httpx.AsyncClient:
    """Return a client of an application with one guarded route."""
    app = create_app("test", Health(SetClock()))

    @app.get("/guarded", dependencies=[Depends(require(tokens, "customers:read"))])
    async def guarded() -> dict[str, str]:
        return {"read": "this"}

    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://test")


@pytest.fixture
async def client(tokens: Tokens) -> AsyncIterator[httpx.AsyncClient]:
    """Provide the client that `client_of` returns."""
    async with client_of(tokens) as made:
        yield made


def bearer(token: str) -> dict[str, str]:
    """Return the header that carries a token."""
    return {"Authorization": f"Bearer {token}"}


async def test_only_a_hash_is_stored(engine: AsyncEngine, tokens: Tokens, clock: SetClock) -> None:
    """The table holds the SHA-256 of the token and never the token; no two are alike."""
    first = await tokens.create("crm", ["customers:read", "tasks:write"])
    second = await tokens.create("crm-2", ["customers:read"])
    assert first != second
    assert first.startswith(PREFIX)
    assert len(first) > len(PREFIX) + 40
    async with unit_of_work(engine) as work:
        rows = (await work.connection.execute(sa.select(token_table))).mappings().all()
    assert [row["digest"] for row in rows] == [
        hashlib.sha256(token.encode()).digest() for token in (first, second)
    ]
    assert rows[0]["created_at"] == clock.at
    assert first.removeprefix(PREFIX) not in repr(rows)


async def test_listing_shows_no_secret(tokens: Tokens, clock: SetClock) -> None:
    """The list has name, scopes and state, without token or digest."""
    made = await tokens.create("crm", ["customers:read"])
    await tokens.create("till", ["events:write", "admin"])
    rows = await tokens.list_all()
    assert [(r["name"], r["scopes"], r["revoked_at"]) for r in rows] == [
        ("crm", ["customers:read"], None),
        ("till", ["events:write", "admin"], None),
    ]
    assert "digest" not in rows[0]
    clock.pass_by(timedelta(hours=1))
    assert await tokens.revoke(rows[0]["id"])
    lines = [describe(row, clock.at) for row in await tokens.list_all()]
    assert "revoked 2026-03-01 10:00Z" in lines[0]
    assert "stands" in lines[1]
    assert made not in "".join(lines)


@pytest.mark.parametrize("scopes", [[], ["customers:write"], ["customers:read", "root"]])
async def test_unknown_scopes_are_refused(tokens: Tokens, scopes: list[str]) -> None:
    """The error names the known scopes; nothing is made."""
    with pytest.raises(Invalid) as refused:
        await tokens.create("crm", scopes)
    assert refused.value.field == "scopes"
    assert all(scope in refused.value.reason for scope in SCOPES)
    assert await tokens.list_all() == []


@pytest.mark.parametrize("scope", ["customers:read", "admin"])
async def test_the_right_scope_opens(client: httpx.AsyncClient, tokens: Tokens, scope: str) -> None:
    """The scope itself, or admin, opens the route."""
    token = await tokens.create("crm", [scope])
    answer = await client.get("/guarded", headers=bearer(token))
    assert (answer.status_code, answer.json()) == (200, {"read": "this"})


async def test_a_wrong_scope_is_403(client: httpx.AsyncClient, tokens: Tokens) -> None:
    """The token is known but lacks the scope; the answer names the missing scope."""
    token = await tokens.create("till", ["events:write", "tasks:write"])
    answer = await client.get("/guarded", headers=bearer(token))
    assert answer.status_code == 403
    assert "customers:read" in answer.json()["detail"]
    assert token not in answer.text


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer "},
        {"Authorization": "Basic Y3JtOnNlY3JldA=="},
        bearer("ebw_never-made"),
        bearer("\u00e9\u00e8"),
        {"Authorization": "ebw_never-made"},
    ],
)
async def test_no_good_token_is_401(client: httpx.AsyncClient, headers: dict[str, str]) -> None:
    """The answer is a problem document with the challenge, whatever was sent instead of a token."""
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    answer = await client.get("/guarded", headers=raw)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert answer.headers["Content-Type"] == PROBLEM_JSON
    assert answer.json()["status"] == 401


async def test_a_revoked_token_is_401(client: httpx.AsyncClient, tokens: Tokens) -> None:
    """Revocation holds at once; a second one reports that it changed nothing."""
    token = await tokens.create("crm", ["customers:read"])
    other = await tokens.create("crm-2", ["customers:read"])
    [first, _] = await tokens.list_all()
    assert await tokens.revoke(first["id"])
    assert (await client.get("/guarded", headers=bearer(token))).status_code == 401
    assert (await client.get("/guarded", headers=bearer(other))).status_code == 200
    assert not await tokens.revoke(first["id"])
    assert not await tokens.revoke(999)


async def test_an_absent_database_is_503(clock: SetClock, postgres: PostgresSettings) -> None:
    """The answer is not 401, since the caller may try again.

    It contains nothing of the address.
    """
    nowhere = postgres.model_copy(
        update={"url": type(postgres.url)("postgresql://u:p@127.0.0.1:1/d")}
    )
    engine = create_engine(nowhere, "test")
    async with client_of(Tokens(engine, token_table, clock)) as client:
        answer = await client.get("/guarded", headers=bearer("ebw_x"))
    await engine.dispose()
    assert answer.status_code == 503
    assert answer.headers["Retry-After"]
    assert "127.0.0.1" not in answer.text


async def test_a_name_belongs_to_one_valid_token(tokens: Tokens, clock: SetClock) -> None:
    """The audit names the token: once it has ended, its name is free again."""
    await tokens.create("crm", ["customers:read"], expires_at=clock.at + timedelta(days=1))
    with pytest.raises(Invalid) as refused:
        await tokens.create("crm", ["tasks:write"])
    assert refused.value.field == "name"
    clock.pass_by(timedelta(days=1))
    await tokens.create("crm", ["tasks:write"])


async def test_a_token_expires(client: httpx.AsyncClient, tokens: Tokens, clock: SetClock) -> None:
    """At its time, without anybody doing anything."""
    token = await tokens.create("crm", ["admin"], expires_at=clock.at + timedelta(hours=1))
    assert (await client.get("/guarded", headers=bearer(token))).status_code == 200
    clock.pass_by(timedelta(hours=1))
    assert (await client.get("/guarded", headers=bearer(token))).status_code == 401
    (row,) = await tokens.list_all()
    assert "expired 2026-03-01 10:00Z" in describe(row, clock.at)
    assert "used 2026-03-01" in describe(row, clock.at)


async def test_a_rotated_token_ends_after_the_overlap(
    client: httpx.AsyncClient, tokens: Tokens, clock: SetClock
) -> None:
    """Until then both are valid, so that nothing stops while the new one is spread."""
    old = await tokens.create("crm", ["customers:read"], owner_ids=["o-1"])
    (row,) = await tokens.list_all()
    new = await tokens.rotate(row["id"], timedelta(hours=24))
    assert new is not None
    for token in (old, new):
        holder = await tokens.holder_of(token)
        assert holder is not None
        assert (holder.name, holder.owner_ids) == ("crm", frozenset({"o-1"}))
    clock.pass_by(timedelta(hours=24))
    assert await tokens.holder_of(old) is None
    assert await tokens.holder_of(new) is not None
    assert await tokens.rotate(row["id"], timedelta(hours=24)) is None, "it is not valid any more"


async def test_a_route_that_is_not_limited_refuses_a_limited_token(
    client: httpx.AsyncClient, tokens: Tokens
) -> None:
    """So that a new route shows nothing by mistake."""
    token = await tokens.create("crm", ["customers:read"], owner_ids=["o-1"])
    answer = await client.get("/guarded", headers=bearer(token))
    assert answer.status_code == 403
    assert "limited to owners" in answer.json()["detail"]
    with pytest.raises(Invalid, match="admin"):
        await tokens.create("all", ["admin"], owner_ids=["o-1"])
