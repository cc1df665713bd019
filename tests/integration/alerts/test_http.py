"""The HTTP API on a real database: rights, contents, pages, verdicts."""

from collections.abc import AsyncIterator

import httpx
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from services.alerts.inbound.http import add_routes
from services.alerts.store.tables import api_token
from shared.contracts import events
from shared.contracts.activity import Activity, ActivityData
from shared.contracts.events import Owner, Profile
from shared.http.access import Tokens
from shared.http.app import create_app
from shared.runtime.health import Health
from tests.integration.alerts.harness import AlertsHarness, running, until
from tests.integration.alerts.receiver import Receiver, reply
from tests.unit.alerts.samples import assessed, day

pytestmark = pytest.mark.stack


@pytest.fixture
async def bench(engine: AsyncEngine, receiver: Receiver) -> AsyncIterator[AlertsHarness]:
    """Provide a harness with one endpoint."""
    async with AlertsHarness(engine, endpoints={"crm": receiver.url}) as made:
        yield made


@pytest.fixture
async def api(bench: AlertsHarness) -> AsyncIterator[httpx.AsyncClient]:
    """Provide a client with a token for everything here."""
    tokens = Tokens(bench.engine, api_token, bench.clock)
    token = await tokens.create("test", ["customers:read", "tasks:write"])
    app = create_app("test", Health(bench.clock))
    add_routes(app, bench.parts(tokens))
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app),
        base_url="http://alerts",
        headers={"authorization": f"Bearer {token}"},
    ) as client:
        yield client


async def profile(bench: AlertsHarness, customer: str, owner: str) -> None:
    data = ActivityData(profile=Profile(name=customer.upper(), owner=Owner(id=owner)))
    await bench.read_activity(
        Activity(specversion="1.0", id="p", source="/t", type=events.PROFILE, time=day(-1),
                 subject=customer, data=data)
    )  # fmt: skip


async def test_tasks_page_by_page(bench: AlertsHarness, api: httpx.AsyncClient) -> None:
    """Several tasks open at the same instant; none is missed and none is listed twice."""
    await bench.read_risk(*(assessed(1, n // 3, customer_id=f"c-{n}") for n in range(10)))
    seen, cursor = [], ""
    while True:
        page = (await api.get(f"/v1/tasks?limit=4{cursor}")).json()
        seen += page["items"]
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"
    assert len(seen) == 10
    assert len({task["id"] for task in seen}) == 10
    opened = [task["opened_at"] for task in seen]
    assert opened == sorted(opened, reverse=True)


async def test_filters_and_languages(bench: AlertsHarness, api: httpx.AsyncClient) -> None:
    await profile(bench, "c-1", "o-1")
    await bench.read_risk(
        assessed(1, 0),
        assessed(1, 0, customer_id="c-2"),
        assessed(2, 5, "low", customer_id="c-2", last_purchase_at=day(4)),
    )
    for query, customers in (
        ("status=open", {"c-1"}),
        ("status=closed", {"c-2"}),
        ("owner=o-1", {"c-1"}),
        ("customer_id=c-2", {"c-2"}),
        ("owner=nobody", set()),
    ):
        found = (await api.get(f"/v1/tasks?{query}")).json()["items"]
        assert {task["customer"]["id"] for task in found} == customers
    (task,) = (await api.get("/v1/tasks?owner=o-1&language=zh-CN")).json()["items"]
    assert task["reasons"][0]["text"] == "通常每 9 天购买一次，现已 20 天未购买"
    assert task["reasons"][0]["facts"]["days_silent"] == 20.0
    one = (await api.get(f"/v1/tasks/{task['id']}")).json()
    assert one["customer"] == {"id": "c-1", "name": "C-1"}
    assert one["reasons"][0]["text"].startswith("Buys every 9 days")


async def test_a_verdict_through_the_api(bench: AlertsHarness, api: httpx.AsyncClient) -> None:
    await bench.read_risk(assessed(1, 0))
    ((task,),) = [(await api.get("/v1/tasks")).json()["items"]]
    path = f"/v1/tasks/{task['id']}/close"
    said = {"verdict": "wrong_alarm", "note": "on holiday"}
    first = await api.post(path, json=said)
    again = await api.post(path, json=said)
    assert (first.status_code, first.json()["status"]) == (200, "closed")
    assert again.json() == first.json()
    other = await api.post(path, json={"verdict": "reached"})
    assert other.status_code == 409
    assert other.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/v1/tasks/rt_none", None, 404),
        ("GET", "/v1/deliveries/msg_none", None, 404),
        ("GET", "/v1/tasks?cursor=x", None, 422),
        ("GET", "/v1/tasks?cursor=bm9uZQ==", None, 422),
        ("GET", "/v1/deliveries?cursor=bm9uZQ==", None, 422),
        ("GET", "/v1/tasks?limit=0", None, 422),
        ("GET", "/v1/tasks?limit=201", None, 422),
        ("GET", "/v1/tasks?status=none", None, 422),
        ("POST", "/v1/tasks/rt_none/close", {"verdict": "reached"}, 404),
        ("POST", "/v1/tasks/rt_none/close", {"verdict": "maybe"}, 422),
        ("POST", "/v1/tasks/rt_none/close", {"verdict": "reached", "note": "a\0b"}, 422),
        ("POST", "/v1/tasks/rt_none/close", {"verdict": "reached", "note": "x" * 4_001}, 422),
    ],
)
async def test_what_is_wrong_is_a_problem_document(
    api: httpx.AsyncClient, method: str, path: str, body: object, status: int
) -> None:
    answer = await api.request(method, path, json=body)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"]


async def test_deliveries_with_their_attempts(
    bench: AlertsHarness, api: httpx.AsyncClient, receiver: Receiver
) -> None:
    receiver.answers = [reply(500, b"down")]
    await bench.read_risk(assessed(1, 0))
    async with running(await bench.sender()):
        await until(bench.engine, "SELECT attempts FROM alerts.delivery", (1,))
    (listed,) = (await api.get("/v1/deliveries?status=pending&endpoint=crm")).json()["items"]
    assert (listed["kind"], listed["attempts"]) == ("retention_task.opened", 1)
    shown = (await api.get(f"/v1/deliveries/{listed['id']}")).json()
    assert [(t["response_status"], t["response_head"]) for t in shown["tries"]] == [(500, "down")]
    assert (await api.get("/v1/deliveries?status=failed")).json() == {"items": [], "next": None}
    first = (await api.get("/v1/deliveries?limit=1")).json()
    assert first["next"] is None


@pytest.mark.parametrize(
    ("scope", "method", "path", "status"),
    [
        (None, "GET", "/v1/tasks", 401),
        ("events:write", "GET", "/v1/tasks", 403),
        ("events:write", "GET", "/v1/tasks/rt_x", 403),
        ("events:write", "GET", "/v1/deliveries", 403),
        ("events:write", "GET", "/v1/deliveries/msg_x", 403),
        ("customers:read", "POST", "/v1/tasks/rt_x/close", 403),
        ("tasks:write", "GET", "/v1/tasks", 403),
        ("admin", "GET", "/v1/tasks", 200),
    ],
)
async def test_every_route_requires_its_scope(
    bench: AlertsHarness,
    api: httpx.AsyncClient,
    scope: str | None,
    method: str,
    path: str,
    status: int,
) -> None:
    """Checks R21."""
    headers = {"authorization": ""}
    if scope is not None:
        token = await Tokens(bench.engine, api_token, bench.clock).create("t", [scope])
        headers = {"authorization": f"Bearer {token}"}
    body = {"verdict": "reached"} if method == "POST" else None
    answer = await api.request(method, path, json=body, headers=headers)
    assert answer.status_code == status
