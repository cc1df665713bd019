"""Principals over HTTP: on behalf of a person, who one is, and tokens made by tokens (R21)."""

from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import Any

import httpx
import pytest
from fastapi import Depends
from sqlalchemy.ext.asyncio import AsyncEngine

from shared.http.access import Tokens, describe, held_by, require
from shared.http.app import create_app
from shared.http.borders import Limits
from shared.http.holder import Person
from shared.http.me_route import add_me_route
from shared.http.on_behalf import AGE_S_MAX, HEADER, HEADER_CHARS_MAX, SKEW_S_MAX, signed
from shared.http.token_routes import add_token_routes
from shared.runtime.health import Health
from tests.fakes.clock import SetClock
from tests.integration.shared.tables import SCHEMA
from tests.integration.shared.tables import token as token_table

pytestmark = [pytest.mark.stack, pytest.mark.access]

ANN = Person("ann", ("owner",), frozenset({"o-1"}))
CHIEF = Person("chief", ("admin",), None)


@pytest.fixture
def clock() -> SetClock:
    """Provide the clock of tokens and signatures."""
    return SetClock()


@pytest.fixture
def tokens(engine: AsyncEngine, clock: SetClock) -> Tokens:
    """Provide the tokens of the test's schema."""
    return Tokens(engine, token_table, clock)


@pytest.fixture
async def client(tokens: Tokens, clock: SetClock) -> AsyncIterator[httpx.AsyncClient]:
    """Provide a client of an application with the common routes, and two of its own."""
    app = create_app("test", Health(clock), Limits(guard=tokens, open=("/v1/open",)))
    add_me_route(app, tokens)
    add_token_routes(app, tokens, SCHEMA, clock)

    app.get("/v1/policy", dependencies=[Depends(require(tokens, "policy:write"))])(_done)
    reads = held_by(tokens, "customers:read", by_owner=True)
    app.get("/v1/rows", dependencies=[Depends(reads)])(_done)
    app.get("/v1/open", dependencies=[Depends(reads)])(_done)
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as made:
        yield made


async def _done() -> str:
    return "done"


class Caller:
    """A token, and how it calls."""

    def __init__(self, client: httpx.AsyncClient, tokens: Tokens, clock: SetClock) -> None:
        self.client, self.tokens, self.clock = client, tokens, clock

    async def create(self, *scopes: str, **more: Any) -> "Caller":
        """Create the token, named after its scopes."""
        self.token = await self.tokens.create(" ".join(scopes), scopes, **more)
        self.secret = await self.tokens.signing_secret(self.token) or ""
        return self

    async def ask(
        self, method: str, path: str, person: Person | str | None = None, **given: Any
    ) -> httpx.Response:
        """Send a request; `person`: on whose behalf, or the header's value."""
        headers = {"Authorization": f"Bearer {self.token}"}
        if isinstance(person, Person):
            headers[HEADER] = signed(person, self.secret, self.clock.now())
        elif person is not None:
            headers[HEADER] = person
        return await self.client.request(method, path, headers=headers, **given)

    async def status(self, path: str, person: Person | str | None = None) -> int:
        """Return only the status of reading."""
        return (await self.ask("GET", path, person)).status_code


@pytest.fixture
def caller(client: httpx.AsyncClient, tokens: Tokens, clock: SetClock) -> Caller:
    """Provide a caller without a token yet."""
    return Caller(client, tokens, clock)


async def test_me_of_a_service_and_of_a_person(caller: Caller, clock: SetClock) -> None:
    """Any valid token may ask."""
    service = await caller.create("events:write", owner_ids=["o-2", "o-1"])
    assert (await service.ask("GET", "/v1/me")).json() == {
        "token": "events:write", "kind": "service", "person": None, "scopes": ["events:write"],
        "owner_ids": ["o-1", "o-2"], "expires_at": None,
    }  # fmt: skip
    ends = clock.at + timedelta(days=1)
    person = await caller.create("audit:read", is_person=True, expires_at=ends)
    me = (await person.ask("GET", "/v1/me")).json()
    assert (me["kind"], me["owner_ids"], me["expires_at"][:10]) == ("person", None, "2026-03-02")
    (_, row) = await caller.tokens.list_all()
    assert "a person's" in describe(row, clock.at)


async def test_me_on_behalf_of_a_person(caller: Caller) -> None:
    """Limited to what both may."""
    console = await caller.create("on_behalf", "customers:read", "policy:write")
    me = (await console.ask("GET", "/v1/me", ANN)).json()
    assert (me["kind"], me["token"]) == ("on_behalf", "on_behalf customers:read policy:write")
    assert me["person"] == {"id": "ann", "roles": ["owner"]}
    assert (me["scopes"], me["owner_ids"]) == (["customers:read"], ["o-1"])
    nothing = Person("eve", ("steward",), frozenset())
    me = (await console.ask("GET", "/v1/me", nothing)).json()
    assert (me["scopes"], me["owner_ids"]) == (["customers:read"], [])


@pytest.mark.parametrize(
    ("scopes", "person", "policy", "rows"),
    [
        (("admin", "on_behalf"), CHIEF, 200, 200),
        (("admin", "on_behalf"), ANN, 403, 200),
        (("customers:read", "on_behalf"), CHIEF, 403, 200),
        (("on_behalf",), CHIEF, 403, 403),
        (("admin", "on_behalf"), Person("ann", (), None), 403, 403),
        (("admin", "on_behalf"), Person("bob", ("operator",), None), 200, 200),
        (("admin", "on_behalf"), Person("bob", ("operator",), frozenset({"o-1"})), 403, 200),
        (("admin", "on_behalf"), None, 200, 200),
    ],
)
async def test_both_must_be_allowed(
    caller: Caller, scopes: Sequence[str], person: Person | None, policy: int, rows: int
) -> None:
    """A route that is not limited by owner refuses a person who is."""
    made = await caller.create(*scopes)
    assert await made.status("/v1/policy", person) == policy
    assert await made.status("/v1/rows", person) == rows


@pytest.mark.parametrize("path", ["/v1/rows", "/v1/me", "/v1/open"])
@pytest.mark.parametrize("scope", ["admin", "customers:read"])
async def test_without_the_scope_the_header_is_refused(
    caller: Caller, path: str, scope: str
) -> None:
    """403, not ignored: not even `admin` may name a person, whatever the header says."""
    made = await caller.create(scope)
    for header in (ANN, "", "nonsense"):
        answer = await made.ask("GET", path, header)
        assert answer.status_code == 403, answer.text
        assert "on_behalf" in answer.json()["detail"]


@pytest.mark.parametrize("path", ["/v1/rows", "/v1/open"])
async def test_no_forged_header_is_believed(caller: Caller, clock: SetClock, path: str) -> None:
    """Not one that another token signed, nor one of several, nor a huge one."""
    other = await caller.create("on_behalf", "admin")
    foreign = other.secret
    made = await caller.create("on_behalf", "customers:read")
    for secret in (foreign, made.token, ""):
        assert await made.status(path, signed(ANN, secret, clock.now())) == 401
    assert await made.status(path, "") == 401
    assert await made.status(path, "a" * HEADER_CHARS_MAX) == 401
    assert await made.status(path, "a" * (HEADER_CHARS_MAX + 1)) == 422
    good = signed(ANN, made.secret, clock.now())
    twice = [("Authorization", f"Bearer {made.token}"), (HEADER, good), (HEADER, good)]
    answer = await made.client.get(path, headers=twice)
    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert await made.status(path, good) == 200


async def test_a_replay_is_bounded(caller: Caller, clock: SetClock) -> None:
    """A header that was read on its way ends by itself, and never works for another token."""
    made = await caller.create("on_behalf", "customers:read")
    header = signed(ANN, made.secret, clock.now())
    assert await made.status("/v1/rows", header) == 200
    clock.pass_by(timedelta(seconds=AGE_S_MAX))
    assert await made.status("/v1/rows", header) == 200
    clock.pass_by(timedelta(seconds=SKEW_S_MAX))
    assert await made.status("/v1/rows", header) == 401


async def test_a_rotated_token_has_a_secret_of_its_own(caller: Caller) -> None:
    """During the overlap each token believes its own."""
    made = await caller.create("on_behalf", "customers:read")
    (row,) = await made.tokens.list_all()
    token = await made.tokens.rotate(row["id"], timedelta(hours=1))
    assert token is not None
    assert await made.tokens.signing_secret(token) not in {None, made.secret}
    assert await made.status("/v1/rows", ANN) == 200
    assert "signing_salt" not in row


async def test_a_token_makes_tokens_that_may_no_more(caller: Caller, clock: SetClock) -> None:
    """Neither by creating one nor by rotating one does anybody gain a scope."""
    await caller.tokens.create("root", ["admin"])
    ends = clock.at + timedelta(days=1)
    made = await caller.create("tokens:write", "customers:read", expires_at=ends)
    body = {"name": "crm", "scopes": ["customers:read"], "owner_ids": ["o-1"]}
    answer = await made.ask("POST", "/v1/tokens", json=body)
    assert answer.status_code == 201, answer.text
    assert answer.json()["signing_secret"] is None
    listed = (await made.ask("GET", "/v1/tokens")).json()["items"]
    by_name = {each["name"]: each for each in listed}
    assert by_name["crm"]["expires_at"] == by_name["tokens:write customers:read"]["expires_at"]
    assert answer.json()["token"] not in str(listed)
    for scopes in (["admin"], ["customers:read", "tasks:write"], ["on_behalf"]):
        more = {"name": "more", "scopes": scopes}
        assert (await made.ask("POST", "/v1/tokens", json=more)).status_code == 403
    root = f"/v1/tokens/{by_name['root']['id']}"
    assert (await made.ask("POST", f"{root}/rotate", json={})).status_code == 403
    assert (await made.ask("DELETE", root)).status_code == 403
    own = f"/v1/tokens/{by_name['tokens:write customers:read']['id']}"
    assert (await made.ask("DELETE", own)).status_code == 409, "nobody locks themselves out"
    ended = await made.ask("POST", f"{own}/rotate", json={"overlap_hours": 0})
    assert ended.status_code == 409
    crm = f"/v1/tokens/{by_name['crm']['id']}"
    rotated = await made.ask("POST", f"{crm}/rotate", json={"overlap_hours": 0})
    assert rotated.status_code == 201
    assert rotated.json()["token"] != answer.json()["token"]
    assert (await made.ask("DELETE", crm)).status_code == 204
    assert (await made.ask("DELETE", crm)).status_code == 404
    assert (await made.ask("DELETE", "/v1/tokens/999")).status_code == 404


async def test_admin_makes_no_token_that_names_persons(caller: Caller) -> None:
    """The scope is given by the command only, or by a token that has it."""
    made = await caller.create("admin")
    body = {"name": "console", "scopes": ["on_behalf"]}
    assert (await made.ask("POST", "/v1/tokens", json=body)).status_code == 403
    both = await caller.create("admin", "on_behalf")
    answer = await both.ask("POST", "/v1/tokens", json=body)
    assert answer.json()["signing_secret"].startswith("ebs_")
    as_chief = await both.ask("POST", "/v1/tokens", CHIEF, json=body | {"name": "other"})
    assert as_chief.status_code == 403, "a person has no secret to sign with"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": "", "scopes": ["admin"]},
        {"name": "x", "scopes": []},
        {"name": "x", "scopes": ["admin"], "owner_ids": []},
        {"name": "x", "scopes": ["admin"], "owner_ids": ["o-1"]},
        {"name": "x", "scopes": ["admin"], "expires_at": "2020-01-01T00:00:00Z"},
        {"name": "x", "scopes": ["admin"], "more": 1},
        {"name": "admin", "scopes": ["admin"]},
    ],
)
async def test_wrong_tokens_are_refused(caller: Caller, body: dict[str, Any]) -> None:
    """Named by field; nothing is made."""
    made = await caller.create("admin")
    assert (await made.ask("POST", "/v1/tokens", json=body)).status_code == 422
    assert len(await made.tokens.list_all()) == 1
