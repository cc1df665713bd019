"""A CRM from end to end on a real database.

It is connected over HTTP, the sender sends it a task, and its callback reports that the owner is
done.
"""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from services.alerts.connectors.poll_changes import PollChanges
from services.alerts.connectors.registry import check
from services.alerts.connectors.store import PollRows
from services.alerts.delivery.core.endpoint import Kind
from services.alerts.inbound.http import add_routes
from services.alerts.inbound.http.connectors import add_connectors
from services.alerts.inbound.http.endpoints import add_endpoints
from services.alerts.store.tables import api_token
from shared.contracts import events
from shared.contracts.activity import Activity, ActivityData
from shared.contracts.events import Owner, Profile
from shared.http.access import Tokens
from shared.http.app import create_app
from shared.kernel.errors import Invalid
from shared.runtime.health import Health
from tests.fakes.crm.fxiaoke import FakeFxiaoke
from tests.fakes.crm.serving import Served, serving
from tests.fakes.crm.wecom import FakeWecom
from tests.fakes.crm.zoho import FakeZoho
from tests.integration.alerts.harness import (
    AlertsHarness,
    rows,
    running,
    until,
)
from tests.integration.crm.connector_kit import SECRETS, config, endpoint
from tests.unit.alerts.samples import assessed, day

pytestmark = pytest.mark.stack

STATUS = "SELECT kind, status FROM alerts.delivery ORDER BY seq"


def ann() -> Activity:
    """Return the customer's profile with Ann as its owner."""
    profile = Profile(name="上海示例", language="zh-CN", owner=Owner(id="o-1", name="Ann"))
    return Activity(
        specversion="1.0",
        id="p-1",
        source="/test",
        type=events.PROFILE,
        time=day(0),
        subject="c-1",
        data=ActivityData(profile=profile),
    )


@pytest.fixture
async def bench(engine: AsyncEngine) -> AsyncIterator[AlertsHarness]:
    """Provide the parts of the service, without an endpoint."""
    async with AlertsHarness(engine) as made:
        yield made


@pytest.fixture
async def api(bench: AlertsHarness) -> AsyncIterator[httpx.AsyncClient]:
    """Provide a client with every right."""
    tokens = Tokens(bench.engine, api_token, bench.clock)
    app = create_app("test", Health(bench.clock))
    managing = await bench.managing()
    add_routes(app, bench.parts(tokens))
    add_endpoints(app, tokens, managing)
    add_connectors(app, bench.engine, tokens, bench.stored, managing.check_remote)
    token = await tokens.create("test", ["admin"])
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app),
        base_url="http://alerts",
        headers={"authorization": f"Bearer {token}"},
    ) as client:
        yield client


async def connect(api: httpx.AsyncClient, kind: Kind, fake: Served, **more: Any) -> httpx.Response:
    body = {"id": "crm", "kind": kind, "config": config(kind, fake), "secrets": SECRETS[kind]}
    return await api.post("/v1/endpoints", json=body | more)


@pytest.mark.parametrize("kind", ["zoho", "fxiaoke"])
async def test_a_task_goes_to_the_crm_and_its_verdict_comes_back(
    bench: AlertsHarness, api: httpx.AsyncClient, kind: Kind
) -> None:
    fake: Any = FakeZoho() if kind == "zoho" else FakeFxiaoke()
    async with serving(fake):
        made = await connect(api, kind, fake)
        assert made.status_code == 201, made.text
        assert not any(secret in made.text for secret in SECRETS[kind].values())
        await api.put("/v1/endpoints/crm/owners", json={"owners": {"o-1": "777"}})
        await bench.read_activity(ann())
        await bench.read_risk(assessed(1, 1))
        looks = PollChanges(
            bench.engine,
            endpoints=bench.stored,
            readers=await bench.connectors(),
            polls=PollRows(bench.engine),
            give_verdict=bench.give_verdict(),
            clock=bench.clock,
            health=Health(bench.clock),
            poll_requested=asyncio.Event(),
            isolation=bench.careful,
        )
        fake.now = bench.clock.now()
        await looks.iterate()
        async with running(await bench.sender()):
            await until(bench.engine, STATUS, ("retention_task.opened", "delivered"))
            [(remote_id, record)] = fake.records.items()
            remote = "SELECT remote_id FROM alerts.remote_task"
            assert await rows(bench.engine, remote) == [(remote_id,)]
            values = {"Status": "Completed"} if kind == "zoho" else {"outcome__c": "lost"}
            fake.touch(remote_id, **values)
            bench.clock.pass_by(timedelta(minutes=6))
            await looks.iterate()
            assert "777" in repr(record["owner" if kind == "fxiaoke" else "Owner"])
            expected = "action_taken" if kind == "zoho" else "leaving"
            assert await rows(bench.engine, "SELECT status, verdict FROM alerts.task") == [
                ("closed", expected)
            ]
            await until(
                bench.engine,
                STATUS,
                ("retention_task.opened", "delivered"),
                ("retention_task.closed", "delivered"),
            )
        assert record["status__c" if kind == "fxiaoke" else "Status"] in {"closed", "Completed"}
        assert len(fake.records) == 1


async def test_02_an_answer_that_is_lost_leaves_one_record_and_one_delivery(
    bench: AlertsHarness, api: httpx.AsyncClient
) -> None:
    fake = FakeZoho(unique=False)
    async with serving(fake):
        await connect(api, "zoho", fake, config=config("zoho", fake, fallback_owner="1"))
        fake.troubles["/Tasks"] = ["lost"]
        await bench.read_risk(assessed(1, 0))
        async with running(await bench.sender()):
            outcome = "SELECT outcome FROM alerts.attempt ORDER BY number"
            await until(bench.engine, outcome, ("retry",))
            bench.clock.pass_by(timedelta(seconds=70))
            await until(bench.engine, STATUS, ("retention_task.opened", "delivered"))
        assert len(fake.records) == 1


async def test_a_mapping_that_the_crm_cannot_take_is_not_saved(
    api: httpx.AsyncClient, bench: AlertsHarness
) -> None:
    fake = FakeZoho()
    async with serving(fake):
        wrong = config("zoho", fake, fields={"Subject": "x", "Titel": "{{ band }}"})
        refused = await connect(api, "zoho", fake, config=wrong)
        assert refused.status_code == 422
        assert "config.fields.Titel: Tasks has no such field" in refused.text
        nobody = {**SECRETS["zoho"], "client_secret": "wrong"}
        refused = await connect(api, "zoho", fake, secrets=nobody)
        assert refused.status_code == 422
        assert "Zoho gave no access token: invalid_client" in refused.text
        assert await rows(bench.engine, "SELECT id FROM alerts.endpoint") == []
        assert (await connect(api, "zoho", fake)).status_code == 201
        changed = await api.put("/v1/endpoints/crm", json={"config": wrong})
        assert changed.status_code == 422
        assert (await api.post("/v1/endpoints/crm/check")).json() == {"fits": True}


async def test_the_vendors_limits_are_the_endpoints(api: httpx.AsyncClient) -> None:
    fake = FakeWecom()
    async with serving(fake):
        made = (await connect(api, "wecom_bot", fake)).json()["endpoint"]
        assert (made["rate_per_s"], made["burst"], made["concurrency_max"]) == (0.3, 2, 1)
        faster = {"config": config("wecom_bot", fake), "rate_per_s": 1}
        refused = await api.put("/v1/endpoints/crm", json=faster)
        assert refused.status_code == 422
        assert "rate_per_s: wecom_bot takes at most 0.3" in refused.text


async def test_16_21_group_messages_in_a_minute_keep_to_20(
    bench: AlertsHarness, api: httpx.AsyncClient
) -> None:
    """The endpoint's own rate keeps to the limit: no message is refused and all arrive."""
    fake = FakeWecom()
    async with serving(fake):
        await connect(api, "wecom_bot", fake)
        await bench.read_risk(*(assessed(1, 0, customer_id=f"c-{n}") for n in range(21)))
        async with running(await bench.sender()):
            for _ in range(25):
                await asyncio.sleep(0.12)
                bench.clock.pass_by(timedelta(seconds=4))
                fake.now = bench.clock.now()
            done = "SELECT count(*) FROM alerts.delivery WHERE status = 'delivered'"
            await until(bench.engine, done, (21,))
        assert await rows(bench.engine, "SELECT count(*) FROM alerts.attempt") == [(21,)]


async def test_an_owner_table_is_read_and_replaced(api: httpx.AsyncClient) -> None:
    fake = FakeWecom()
    async with serving(fake):
        await connect(api, "wecom_bot", fake)
        table = {"owners": {"o-1": "zhangsan"}}
        assert (await api.put("/v1/endpoints/crm/owners", json=table)).json() == table
        assert (await api.get("/v1/endpoints/crm/owners")).json() == table
        assert (await api.put("/v1/endpoints/none/owners", json=table)).status_code == 404
        empty = {"owners": {"o-1": ""}}
        assert (await api.put("/v1/endpoints/crm/owners", json=empty)).status_code == 422


async def test_a_secret_that_cannot_be_one_is_refused_without_telling_it(
    api: httpx.AsyncClient,
) -> None:
    fake = FakeWecom()
    async with serving(fake):
        secrets = {**SECRETS["wecom_app"], "callback_aes_key": "too-short-a-key"}
        refused = await connect(api, "wecom_app", fake, secrets=secrets)
        assert refused.status_code == 422
        assert "callback_aes_key" in refused.text
        assert "too-short-a-key" not in refused.text


def test_connectors_are_spoken_to_over_tls_only() -> None:
    made = endpoint("zoho", FakeZoho(url="http://127.0.0.1:1"))
    with pytest.raises(Invalid, match=r"config.api_url: must be https"):
        check(made, SECRETS["zoho"].keys(), https_only=True)
