"""The real process with a CRM: connected over HTTP, a card sent, a click received."""

import base64

import httpx
import pytest

from shared.contracts.events import Owner, Profile
from shared.kafka.producer import Producer
from shared.runtime.clock import SystemClock
from tests.fakes.crm.serving import serving
from tests.fakes.crm.wecom import FakeWecom
from tests.integration.alerts.running import ServiceEnvironment, alerts
from tests.integration.crm.connector_kit import SECRETS, config
from tests.unit.alerts.samples import assessed, day

pytestmark = pytest.mark.stack

SETTINGS = {
    "EBBWATCH_ALERTS_SECRET_KEYS": base64.b64encode(b"k" * 32).decode(),
    "EBBWATCH_ALERTS_DELIVERY_ALLOWED_NETWORKS": "127.0.0.0/8",
    "EBBWATCH_ALERTS_DELIVERY_HTTPS_ONLY": "false",
}


async def test_a_card_goes_out_and_the_owners_click_comes_back(
    place: ServiceEnvironment, upstream: Producer
) -> None:
    fake = FakeWecom(now=SystemClock().now())
    async with (
        serving(fake),
        alerts(place, **SETTINGS) as running,
        httpx.AsyncClient(base_url=running.url, timeout=30) as client,
    ):
        token = await place.command("tokens", "create", "--name", "crm", "--scope", "admin")
        client.headers["authorization"] = f"Bearer {token.split()[-1]}"
        made = await client.post(
            "/v1/endpoints",
            json={
                "id": "wecom",
                "kind": "wecom_app",
                "config": config("wecom_app", fake),
                "secrets": SECRETS["wecom_app"],
            },
        )
        assert made.status_code == 201, made.text
        owners = {"owners": {"o-1": "zhangsan"}}
        assert (await client.put("/v1/endpoints/wecom/owners", json=owners)).status_code == 200
        profile = Profile(name="上海示例", language="zh-CN", owner=Owner(id="o-1", name="Ann"))
        await upstream.send([place.profile("c-1", day(0), profile)])
        await place.consumed()
        await upstream.send([place.risk(assessed(1, 1))])
        reported = "SELECT status FROM alerts.delivery WHERE endpoint_id = 'wecom'"
        await place.until(reported, "delivered")
        [card] = fake.messages
        task_id = card["template_card"]["task_id"]
        query, body = fake.callback(fake.click("zhangsan", task_id, "action_taken"))
        callback = "/v1/callbacks/wecom/wecom"
        forged = query | {"msg_signature": "0" * 40}
        assert (await client.post(callback, params=forged, content=body)).status_code == 403
        assert (await client.post(callback, params=query, content=body)).status_code == 200
        await place.until("SELECT verdict FROM alerts.task", "action_taken")
        line = 'ebbwatch_alerts_way_back_total{endpoint="wecom",outcome="taken"}'
        assert await running.metric(line) == 1
