"""Endpoints over HTTP on a real database: created, tested, changed, with sealed secrets."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncEngine
from standardwebhooks import Webhook

from services.alerts.delivery.core.signature import verify
from services.alerts.delivery.store.encryption import Encryption
from services.alerts.delivery.store.endpoint_secrets import EndpointSecrets
from services.alerts.delivery.store.endpoints import Endpoints
from services.alerts.inbound.http import add_routes
from services.alerts.inbound.http.endpoints import add_endpoints
from services.alerts.store.tables import api_token
from shared.http.access import Tokens
from shared.http.app import create_app
from shared.kernel.errors import Invalid
from shared.postgres.engine import unit_of_work
from shared.runtime.clock import SystemClock
from shared.runtime.health import Health
from tests.integration.alerts.harness import (
    AlertsHarness,
    rows,
    running,
    until,
)
from tests.integration.alerts.message_parts import VAULT
from tests.integration.alerts.receiver import Receiver, reply
from tests.unit.alerts.samples import assessed, day

pytestmark = pytest.mark.stack

STATUS = "SELECT endpoint_id, status FROM alerts.delivery ORDER BY endpoint_id, seq"
Json = dict[str, Any]


@pytest.fixture
async def bench(engine: AsyncEngine, receiver: Receiver) -> AsyncIterator[AlertsHarness]:
    """Provide one endpoint in the settings, on the wall clock, so that signatures verify."""
    async with AlertsHarness(engine, endpoints={"set": receiver.url}) as made:
        made.clock.at = SystemClock().now()
        yield made


@pytest.fixture
async def api(bench: AlertsHarness) -> AsyncIterator[httpx.AsyncClient]:
    """Provide a client with every right."""
    tokens = Tokens(bench.engine, api_token, bench.clock)
    app = create_app("test", Health(bench.clock))
    add_routes(app, bench.parts(tokens))
    add_endpoints(app, tokens, await bench.managing())
    token = await tokens.create("test", ["admin"])
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app),
        base_url="http://alerts",
        headers={"authorization": f"Bearer {token}"},
    ) as client:
        yield client


async def created(api: httpx.AsyncClient, receiver: Receiver, **more: Any) -> Json:
    answer = await api.post("/v1/endpoints", json={"id": "made", "url": receiver.url, **more})
    assert answer.status_code == 201, answer.text
    found: Json = answer.json()
    return found


async def test_a_key_is_shown_once_and_sealed_at_rest(
    bench: AlertsHarness, api: httpx.AsyncClient, receiver: Receiver
) -> None:
    """Checks DELIVERY 7.8."""
    secret = (await created(api, receiver))["secret"]
    assert secret.startswith("whsec_")
    for path in ("/v1/endpoints", "/v1/endpoints/made"):
        assert secret[6:] not in (await api.get(path)).text
    ((sealed, key_id),) = await rows(
        bench.engine, "SELECT sealed, key_id FROM alerts.endpoint_secret"
    )
    assert secret.encode() not in sealed
    assert secret[6:].encode() not in sealed
    assert VAULT.open("made/signing", key_id, sealed) == secret
    with pytest.raises(Invalid, match="changed"):
        VAULT.open("other/signing", key_id, sealed)


async def test_a_sample_is_sent_now_and_verifies(
    bench: AlertsHarness, api: httpx.AsyncClient, receiver: Receiver
) -> None:
    secret = (await created(api, receiver))["secret"]
    receiver.answers = [reply(503, b"not yet")]
    first = (await api.post("/v1/endpoints/made/test")).json()
    assert (first["result"], first["response_status"], first["response_head"]) == (
        "retry", 503, "not yet",
    )  # fmt: skip
    assert (await api.post("/v1/endpoints/made/test")).json()["result"] == "ok"
    message = Webhook(secret).verify(receiver.requests[-1].body, receiver.requests[-1].headers)
    assert message["type"] == "endpoint.test"
    assert await rows(bench.engine, "SELECT 1 FROM alerts.delivery") == []


async def test_v1a_shows_the_public_half(
    bench: AlertsHarness, api: httpx.AsyncClient, receiver: Receiver
) -> None:
    made = await created(api, receiver, scheme="v1a")
    assert made["secret"].startswith("whsk_")
    shown = (await api.get("/v1/endpoints/made")).json()
    assert shown["secrets"][0]["public_key"] == made["public_key"]
    await api.post("/v1/endpoints/made/test")
    sent = receiver.requests[-1]
    assert sent.headers["webhook-signature"].startswith("v1a,")
    verify(sent.headers, sent.body, [made["secret"]], bench.clock.now())


async def test_routes_choose_what_an_endpoint_gets(
    bench: AlertsHarness, api: httpx.AsyncClient, receiver: Receiver
) -> None:
    """An owner, a policy and a kind of message can have several endpoints.

    Bodies are thin or full.
    """
    route = {"event_types": ["retention_task.closed"], "policies": ["default"]}
    await created(api, receiver, route=route, payload="thin")
    for number, other in enumerate(
        ({"owner_ids": ["nobody"]}, {"policies": ["none"]}, {"queues": ["fast_response"]})
    ):
        await created(api, receiver, id=f"no-{number}", route=other)
    await bench.read_risk(assessed(1, 0), assessed(2, 5, "low", last_purchase_at=day(4)))
    assert [row[0] for row in await rows(bench.engine, STATUS)] == ["made", "set", "set"]
    ((body,),) = await rows(
        bench.engine, "SELECT body FROM alerts.delivery WHERE endpoint_id = 'made'"
    )
    assert b'"customer":{"id":"c-1"}' in body
    assert b"reasons" not in body


async def test_paused_waits_and_deleted_ends(
    bench: AlertsHarness, api: httpx.AsyncClient, receiver: Receiver
) -> None:
    await created(api, receiver)
    assert (await api.post("/v1/endpoints/made/pause")).json()["paused_at"]
    await bench.read_risk(assessed(1, 0))
    async with running(await bench.sender()):
        await until(bench.engine, STATUS, ("made", "pending"), ("set", "delivered"))
        await api.post("/v1/endpoints/made/enable")
        await until(bench.engine, STATUS, ("made", "delivered"), ("set", "delivered"))
        await api.post("/v1/endpoints/made/pause")
        await bench.read_risk(assessed(1, 0, customer_id="c-2"))
        assert (await api.delete("/v1/endpoints/made")).status_code == 204
    reasons = await rows(bench.engine, "SELECT reason FROM alerts.delivery WHERE status = 'failed'")
    assert reasons == [("its endpoint was deleted",)]
    assert (await api.get("/v1/endpoints/made")).status_code == 404
    assert await rows(bench.engine, "SELECT 1 FROM alerts.endpoint_secret") == []
    again = await api.post("/v1/endpoints", json={"id": "made", "url": receiver.url})
    assert again.status_code == 422


async def test_secrets_are_sealed_anew_with_another_key(
    bench: AlertsHarness, api: httpx.AsyncClient, receiver: Receiver
) -> None:
    """DELIVERY 7.8: a new key in front of the old one, then only the new one."""
    secret = (await created(api, receiver))["secret"]
    old, new = bytes(range(32)), bytes(range(1, 33))
    secrets = EndpointSecrets(Encryption([new, old]))
    assert await secrets.reencrypt(bench.engine) == 1
    assert await secrets.reencrypt(bench.engine) == 0
    async with unit_of_work(bench.engine) as work:
        found = await Endpoints(Encryption([new]), {}).find(work, "made")
        assert found is not None
        assert found.valid_secrets("signing", bench.clock.now()) == [secret]
        with pytest.raises(Invalid, match="is not among them"):
            await Endpoints(Encryption([old]), {}).find(work, "made")
        readable = await Endpoints(Encryption([old]), {"set": (SecretStr(secret),)}).sendable(work)
    assert [endpoint.id for endpoint in readable] == ["set"], "the others go on"


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "says"),
    [
        ("POST", "/v1/endpoints", {"id": "Upper", "url": "https://x.example"}, 422, "id"),
        ("POST", "/v1/endpoints", {"id": "x", "url": "ftp://x.example"}, 422, "url"),
        ("POST", "/v1/endpoints", {"id": "x", "url": "https://u:p@x.example"}, 422, "url"),
        ("POST", "/v1/endpoints", {"id": "x"}, 422, "url"),
        ("POST", "/v1/endpoints", {"id": "x", "url": "https://x", "kind": "fax"}, 422, "kind"),
        ("POST", "/v1/endpoints", {"id": "x", "url": "https://x", "config": {"a": 1}}, 422,
         "config"),
        ("POST", "/v1/endpoints",
         {"id": "x", "url": "https://x", "route": {"event_types": ["task.made"]}}, 422,
         "task.made"),
        ("POST", "/v1/endpoints", {"id": "set", "url": "https://x.example"}, 422, "set"),
        ("POST", "/v1/endpoints", {"id": "x", "url": "https://x", "rate_per_s": 0}, 422, "rate"),
        ("POST", "/v1/endpoints/none/rotate", {}, 404, "none"),
        ("POST", "/v1/endpoints/set/rotate", {}, 409, "ENDPOINTS"),
        ("DELETE", "/v1/endpoints/set", None, 409, "ENDPOINTS"),
        ("POST", "/v1/endpoints/none/test", None, 404, "none"),
        ("POST", "/v1/endpoints/set/rotate", {"overlap_hours": 169}, 422, "overlap_hours"),
        ("POST", "/v1/deliveries/msg_none/resend", None, 404, "msg_none"),
        ("POST", "/v1/endpoints/set/recover", {"since": "2026-01-01T00:00:00"}, 422, "since"),
    ],
)  # fmt: skip
async def test_what_cannot_work_is_refused_by_name(
    api: httpx.AsyncClient, method: str, path: str, body: Json | None, status: int, says: str
) -> None:
    answer = await api.request(method, path, json=body)
    assert answer.status_code == status
    assert says in answer.json()["detail"]


async def test_only_an_admin_manages_endpoints(
    bench: AlertsHarness, api: httpx.AsyncClient
) -> None:
    """Checks R21."""
    token = await Tokens(bench.engine, api_token, bench.clock).create("t", ["tasks:write"])
    headers = {"authorization": f"Bearer {token}"}
    for method, path in (
        ("GET", "/v1/endpoints"),
        ("POST", "/v1/endpoints"),
        ("POST", "/v1/endpoints/set/test"),
        ("POST", "/v1/endpoints/set/recover"),
        ("POST", "/v1/deliveries/msg_1/resend"),
    ):
        assert (await api.request(method, path, headers=headers)).status_code == 403
