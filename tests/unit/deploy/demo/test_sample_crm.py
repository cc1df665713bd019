"""The sample CRM accepts a signed message once and refuses all others."""

import base64
from collections.abc import AsyncIterator
from datetime import timedelta

import httpx
import pytest
from pydantic import SecretStr
from standardwebhooks import Webhook

from deploy.local.sample_crm import BODY_BYTES_MAX, create_app
from shared.runtime.clock import SystemClock

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
BODY = '{"type":"x.y","data":{"name":"客户"}}'


@pytest.fixture
async def crm() -> AsyncIterator[httpx.AsyncClient]:
    app = httpx.ASGITransport(create_app(SecretStr(SECRET), SystemClock()))
    async with httpx.AsyncClient(transport=app, base_url="http://crm") as client:
        yield client


def signed(
    body: str, webhook_id: str = "msg_1", age: timedelta = timedelta(), secret: str = SECRET
) -> dict[str, str]:
    sent_at = SystemClock().now() - age
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(int(sent_at.timestamp())),
        "webhook-signature": Webhook(secret).sign(webhook_id, sent_at, body),
    }


async def post(crm: httpx.AsyncClient, body: str, headers: dict[str, str]) -> int:
    answer = await crm.post("/webhooks", content=body.encode(), headers=headers)
    return answer.status_code


async def test_a_signed_message_is_kept_as_it_came(crm: httpx.AsyncClient) -> None:
    before = int(SystemClock().now().timestamp() * 1000)
    assert await post(crm, BODY, signed(BODY)) == 204
    [kept] = (await crm.get("/messages")).json()
    assert kept["webhook_id"] == "msg_1"
    assert kept["message"] == {"type": "x.y", "data": {"name": "客户"}}
    assert kept["received_ms"] >= before


async def test_a_message_that_comes_twice_is_taken_once(crm: httpx.AsyncClient) -> None:
    assert [await post(crm, BODY, signed(BODY)) for _ in range(2)] == [204, 204]
    assert len((await crm.get("/messages")).json()) == 1
    assert (await crm.get("/stats")).json() == {
        "accepted": 1,
        "duplicates": 1,
        "signature_failures": 0,
    }


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({}, id="no signature"),
        pytest.param(signed(BODY + " "), id="another body"),
        pytest.param(signed(BODY) | {"webhook-id": "msg_2"}, id="another id"),
        pytest.param(signed(BODY, age=timedelta(minutes=6)), id="too old"),
        pytest.param(
            signed(BODY, secret="whsec_" + base64.b64encode(b"x" * 32).decode()), id="another key"
        ),
        pytest.param(signed(BODY) | {"webhook-signature": "v1"}, id="a signature without comma"),
    ],
)
async def test_what_does_not_verify_is_refused_and_counted(
    crm: httpx.AsyncClient, headers: dict[str, str]
) -> None:
    assert await post(crm, BODY, headers) == 401
    assert (await crm.get("/messages")).json() == []
    assert (await crm.get("/stats")).json()["signature_failures"] == 1


async def test_a_huge_body_is_refused_before_it_is_read(crm: httpx.AsyncClient) -> None:
    assert await post(crm, "x" * (BODY_BYTES_MAX + 1), {}) == 413
