"""The way back: what owners do in their CRM becomes a verdict, once, and only theirs.

On a real database, with the CRMs on loopback and the callbacks over HTTP.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import httpx
import msgspec
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from services.alerts.core.connectors import zoho as zoho_core
from services.alerts.core.endpoint import Endpoint, Kind
from services.alerts.handlers.look import LookForChanges
from services.alerts.handlers.take_click import TakeClick
from services.alerts.inbound.callbacks import Place, add_crm_callbacks
from services.alerts.outbound.connectors import Connectors
from services.alerts.outbound.http import Http
from services.alerts.store.connectors import CallbackRows, LookRows, OwnerRows
from services.alerts.store.tasks import Tasks
from shared.contracts.events import Owner, Profile
from shared.http.app import create_app
from shared.postgres.engine import UnitOfWork, unit_of_work
from shared.runtime.health import Health
from tests.fakes.crm.fxiaoke import FakeFxiaoke
from tests.fakes.crm.serving import Served, serving
from tests.fakes.crm.wecom import CORP_ID, FakeWecom
from tests.fakes.crm.zoho import FakeZoho
from tests.integration.alerts.bench import Bench, rows
from tests.integration.crm.kit import LOOPBACK, SECRETS
from tests.integration.crm.kit import endpoint as crm_endpoint
from tests.unit.alerts.connectors.notices import leased
from tests.unit.alerts.samples import raised_task

pytestmark = pytest.mark.stack

VERDICTS = "SELECT id, status, verdict FROM alerts.task ORDER BY id"


@dataclass(slots=True)
class Stored:
    """The endpoints, as they would be in their table."""

    endpoints: dict[str, Endpoint] = field(default_factory=dict)

    async def sendable(self, _: UnitOfWork) -> list[Endpoint]:
        return list(self.endpoints.values())

    async def find(self, _: UnitOfWork, endpoint_id: str) -> Endpoint | None:
        return self.endpoints.get(endpoint_id)


@dataclass(slots=True)
class Office:
    """One process of alerts with one endpoint, a CRM, and an open task of Ann's."""

    bench: Bench
    endpoint: Endpoint
    connectors: Connectors
    look: LookForChanges
    client: httpx.AsyncClient
    rung: asyncio.Event

    async def deliver(self, **changes: Any) -> str:
        """An open task, stored and sent to the CRM; its id."""
        task = raised_task(Profile(language="zh-CN", owner=Owner(id="o-1", name="Ann")))
        task = msgspec.structs.replace(task, **changes)
        async with unit_of_work(self.bench.engine) as work:
            await work.driver.execute(
                "INSERT INTO alerts.customer (customer_id) VALUES ($1) ON CONFLICT DO NOTHING",
                task.customer_id,
            )
            await Tasks().add(work, [task])
        sent = await self.connectors.of(self.endpoint).send(leased(task), self.bench.clock.now())
        assert sent.result == "ok", sent
        return task.id


@asynccontextmanager
async def office(engine: AsyncEngine, kind: Kind, fake: Served) -> AsyncIterator[Office]:
    """Everything at work."""
    owners = OwnerRows(engine)
    await owners.replace("crm", {"o-1": "zhangsan" if kind == "wecom_app" else "777"})
    async with AsyncExitStack() as closing:
        await closing.enter_async_context(serving(fake))
        bench = await closing.enter_async_context(Bench(engine))
        bench.clock.at = fake.now  # type: ignore[attr-defined]
        http = Http(timeout_s=5.0, allowed=LOOPBACK, clock=bench.clock)
        await closing.enter_async_context(http)
        changes = {"notify_url": "https://churn.example.com"} if kind == "zoho" else {}
        endpoint = crm_endpoint(kind, fake, **changes)
        stored, connectors = Stored({"crm": endpoint}), Connectors(bench.shared(http))
        rung = asyncio.Event()
        look = LookForChanges(
            engine,
            endpoints=stored,
            readers=connectors,
            looks=LookRows(engine),
            give_verdict=bench.give_verdict(),
            clock=bench.clock,
            health=Health(bench.clock),
            rung=rung,
        )
        take_click = TakeClick(
            engine=engine,
            tasks=Tasks(),
            owners=owners,
            callbacks=CallbackRows(engine),
            give_verdict=bench.give_verdict(),
            clock=bench.clock,
        )
        app = create_app("test", Health(bench.clock))
        add_crm_callbacks(
            app,
            Place(
                engine=engine,
                endpoints=stored,
                looks=LookRows(engine),
                rung=rung,
                take_click=take_click,
                cards=connectors,
                clock=bench.clock,
            ),
        )
        transport = httpx.ASGITransport(app=app)
        client = httpx.AsyncClient(transport=transport, base_url="http://alerts")
        await closing.enter_async_context(client)
        yield Office(bench, endpoint, connectors, look, client, rung)


def pass_by(place: Office, fake: Any, **time: float) -> None:
    """Let time go by, here and there."""
    place.bench.clock.pass_by(timedelta(**time))
    fake.now = place.bench.clock.now()


async def test_18_a_missed_notification_costs_minutes_and_loses_nothing(
    engine: AsyncEngine,
) -> None:
    """The watch's end is missed, Zoho tells nobody, and the sweep recovers the outcome."""
    fake = FakeZoho()
    async with office(engine, "zoho", fake) as place:
        await place.look.turn()
        task = await place.deliver()
        pass_by(place, fake, days=8)  # longer than any channel lives
        [remote_id] = fake.records
        fake.touch(remote_id, Status="Completed")
        pass_by(place, fake, minutes=1)
        await place.look.turn()
        assert await rows(engine, VERDICTS) == [(task, "closed", "action_taken")]
        assert len(fake.channels) == 2, "the channel was opened anew"


async def test_a_notification_makes_the_look_come_sooner(engine: AsyncEngine) -> None:
    fake = FakeZoho()
    async with office(engine, "zoho", fake) as place:
        await place.look.turn()
        await place.deliver()
        [remote_id] = fake.records
        pass_by(place, fake, seconds=10)
        fake.touch(remote_id, Churn_Outcome="Lost")
        await place.look.turn()
        assert await rows(engine, "SELECT verdict FROM alerts.task") == [(None,)], "not due yet"
        path = fake.channels[-1]["notify_url"].removeprefix("https://churn.example.com")
        heard = await place.client.post(path, json=fake.notification(remote_id))
        assert (heard.status_code, place.rung.is_set()) == (204, True)
        pass_by(place, fake, seconds=2)
        await place.look.turn()
        assert await rows(engine, "SELECT verdict FROM alerts.task") == [("leaving",)]


async def test_17_a_notification_is_not_believed_but_read(engine: AsyncEngine) -> None:
    """It says that the record changed; the record does not say so."""
    fake = FakeZoho()
    async with office(engine, "zoho", fake) as place:
        await place.look.turn()
        await place.deliver()
        [remote_id] = fake.records
        path = fake.channels[-1]["notify_url"].removeprefix("https://churn.example.com")
        told = fake.notification(remote_id) | {
            "affected_values": [{"record_id": remote_id, "values": {"Status": "Completed"}}]
        }
        assert (await place.client.post(path, json=told)).status_code == 204
        pass_by(place, fake, seconds=2)
        await place.look.turn()
        assert await rows(engine, "SELECT verdict FROM alerts.task") == [(None,)]


async def test_17_a_notification_without_proof_is_refused(engine: AsyncEngine) -> None:
    fake = FakeZoho()
    async with office(engine, "zoho", fake) as place:
        await place.look.turn()
        token = SECRETS["zoho"]["callback_token"]
        secret = zoho_core.path_secret("crm", token)
        for path, content in (
            (f"crm/{secret}", {"token": "wrong"}),
            (f"crm/{secret}", {}),
            (f"crm/{secret}", ["token"]),
            ("crm/wrong", {"token": token}),
            (f"nobody/{secret}", {"token": token}),
        ):
            refused = await place.client.post(f"/v1/callbacks/zoho/{path}", json=content)
            assert refused.status_code == 403, path
            assert token not in refused.text
        huge = await place.client.post(f"/v1/callbacks/zoho/crm/{secret}", content=b"x" * 70_000)
        assert huge.status_code == 413
        assert not place.rung.is_set()


async def test_fxiaoke_is_asked_for_changes(engine: AsyncEngine) -> None:
    fake = FakeFxiaoke()
    async with office(engine, "fxiaoke", fake) as place:
        await place.look.turn()
        task = await place.deliver()
        [remote_id] = fake.records
        pass_by(place, fake, minutes=6)
        fake.touch(remote_id, outcome__c="lost")
        await place.look.turn()
        assert await rows(engine, VERDICTS) == [(task, "closed", "leaving")]


async def test_a_change_read_twice_changes_nothing(engine: AsyncEngine) -> None:
    fake = FakeZoho()
    async with office(engine, "zoho", fake) as place:
        await place.look.turn()
        await place.deliver()
        [remote_id] = fake.records
        fake.touch(remote_id, Status="Completed")
        for _ in range(3):
            pass_by(place, fake, minutes=1)
            await LookRows(engine).hasten("crm", place.bench.clock.now())
            await place.look.turn()
        assert await rows(engine, "SELECT version, verdict FROM alerts.task") == [
            (2, "action_taken")
        ]
        fake.touch(remote_id, Churn_Outcome="Lost")  # a second thought comes too late
        pass_by(place, fake, minutes=6)
        await place.look.turn()
        assert await rows(engine, "SELECT verdict FROM alerts.task") == [("action_taken",)]


async def test_a_crm_that_is_away_is_asked_from_where_we_were(engine: AsyncEngine) -> None:
    fake = FakeZoho()
    async with office(engine, "zoho", fake) as place:
        await place.look.turn()
        await place.deliver()
        [remote_id] = fake.records
        fake.touch(remote_id, Status="Completed")
        fake.troubles["/coql"] = ["html"] * 3
        for _ in range(3):
            pass_by(place, fake, minutes=6)
            await place.look.turn()
        assert await rows(engine, "SELECT verdict FROM alerts.task") == [(None,)]
        fake.expire()
        pass_by(place, fake, minutes=6)
        await place.look.turn()
        assert await rows(engine, "SELECT verdict FROM alerts.task") == [("action_taken",)]


async def click(place: Office, fake: FakeWecom, message: bytes, **how: Any) -> httpx.Response:
    """A click, as WeCom sends it."""
    query, body = fake.callback(message, **how)
    return await place.client.post("/v1/callbacks/wecom/crm", params=query, content=body)


async def test_a_click_of_the_owner_is_a_verdict_and_shows_on_the_card(
    engine: AsyncEngine,
) -> None:
    fake = FakeWecom()
    async with office(engine, "wecom_app", fake) as place:
        task = await place.deliver()
        heard = await click(place, fake, fake.click("zhangsan", f"{task}@1", "wrong_alarm"))
        assert (heard.status_code, heard.content) == (200, b"")
        assert await rows(engine, VERDICTS) == [(task, "closed", "wrong_alarm")]
        [update] = fake.updates
        assert update["button"] == {"replace_name": "误报"}
        assert update["userids"] == ["zhangsan"]


async def test_wecom_can_check_our_address(engine: AsyncEngine) -> None:
    fake = FakeWecom()
    async with office(engine, "wecom_app", fake) as place:
        query, body = fake.callback("回声".encode())
        sealed = body.decode().split("<Encrypt>")[1].split("</Encrypt>")[0]
        query["echostr"] = sealed
        heard = await place.client.get("/v1/callbacks/wecom/crm", params=query)
        assert (heard.status_code, heard.text) == (200, "回声")
        query["msg_signature"] = "0" * 40
        refused = await place.client.get("/v1/callbacks/wecom/crm", params=query)
        assert refused.status_code == 403


async def test_17_a_click_by_somebody_else_changes_nothing(engine: AsyncEngine) -> None:
    fake = FakeWecom()
    async with office(engine, "wecom_app", fake) as place:
        task = await place.deliver()
        heard = await click(place, fake, fake.click("lisi", f"{task}@1", "leaving"))
        assert heard.status_code == 200, "WeCom is not to repeat it"
        assert await rows(engine, "SELECT verdict FROM alerts.task") == [(None,)]
        assert fake.updates == []


async def test_17_a_repeated_click_counts_once(engine: AsyncEngine) -> None:
    """Also when it is WeCom's own repetition, under a new signature."""
    fake = FakeWecom()
    async with office(engine, "wecom_app", fake) as place:
        task = await place.deliver()
        pressed = fake.click("zhangsan", f"{task}@1", "reached")
        for nonce in ("n-1", "n-1", "n-2"):
            assert (await click(place, fake, pressed, nonce=nonce)).status_code == 200
        assert len(fake.updates) == 1
        assert await rows(engine, "SELECT version FROM alerts.task") == [(2,)]


async def test_17_a_replay_is_refused(engine: AsyncEngine) -> None:
    fake = FakeWecom()
    async with office(engine, "wecom_app", fake) as place:
        task = await place.deliver()
        query, body = fake.callback(fake.click("zhangsan", f"{task}@1", "reached"))
        pass_by(place, fake, seconds=301)
        late = await place.client.post("/v1/callbacks/wecom/crm", params=query, content=body)
        assert late.status_code == 403
        assert await rows(engine, "SELECT verdict FROM alerts.task") == [(None,)]


async def test_17_what_is_not_wecoms_is_refused(engine: AsyncEngine) -> None:
    fake = FakeWecom()
    async with office(engine, "wecom_app", fake) as place:
        task = await place.deliver()
        query, body = fake.callback(fake.click("zhangsan", f"{task}@1", "reached"))
        other_query, other_body = fake.callback(
            fake.click("zhangsan", f"{task}@1", "reached"), receive_id="ww-another"
        )
        dtd = b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>'
        xxe = dtd + b"<xml><Encrypt>&e;</Encrypt></xml>"
        for params, content, why in (
            (query | {"msg_signature": "0" * 40}, body, "bad signature"),
            (query | {"nonce": "n-9"}, body, "another nonce"),
            (query | {"timestamp": "soon"}, body, "no time"),
            (query, body.replace(b"<Encrypt>", b"<Encrypt>AAAA"), "tampered with"),
            (other_query, other_body, "for another receiver"),
            (query, xxe, "external entity"),
            (query, b"nonsense", "no XML"),
        ):
            refused = await place.client.post(
                "/v1/callbacks/wecom/crm", params=params, content=content
            )
            assert refused.status_code == 403, why
        assert await rows(engine, "SELECT verdict FROM alerts.task") == [(None,)]
        assert CORP_ID not in refused.text


async def test_17_a_click_on_a_task_that_is_settled_shows_what_stands(
    engine: AsyncEngine,
) -> None:
    fake = FakeWecom()
    async with office(engine, "wecom_app", fake) as place:
        task = await place.deliver()
        await click(place, fake, fake.click("zhangsan", f"{task}@1", "reached"))
        pass_by(place, fake, seconds=5)
        await click(place, fake, fake.click("zhangsan", f"{task}@1", "leaving"))
        assert await rows(engine, "SELECT verdict FROM alerts.task") == [("reached",)]
        assert [each["button"]["replace_name"] for each in fake.updates] == ["已联系", "已联系"]


@pytest.mark.parametrize("kind", ["zoho", "fxiaoke", "wecom_app", "wecom_bot"])
async def test_19_no_secret_or_bot_key_in_any_log(
    engine: AsyncEngine,
    kind: Kind,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Through good days and each kind of trouble, in what is logged, answered and stored."""
    caplog.set_level(logging.DEBUG)
    fakes = {"zoho": FakeZoho, "fxiaoke": FakeFxiaoke, "wecom_app": FakeWecom,
             "wecom_bot": FakeWecom}  # fmt: skip
    fake: Any = fakes[kind]()
    answers = []
    async with office(engine, kind, fake) as place:
        connector = place.connectors.of(place.endpoint)
        await place.deliver()
        for trouble in ("html", "drop", "lost"):
            for part in ("/Tasks", "/data/create", "/message/send", "/webhook/send", "/coql"):
                fake.troubles[part] = [trouble]
            task = raised_task(Profile(owner=Owner(id="o-1")))
            task = msgspec.structs.replace(task, id=f"rt_{trouble}")
            answers.append(await connector.send(leased(task), place.bench.clock.now()))
            pass_by(place, fake, minutes=6)
            await place.look.turn()
        unknown = replace(place.endpoint, secrets=())
        assert all(secret not in repr(unknown) for secret in SECRETS[kind].values())
        assert all(secret not in repr(place.endpoint) for secret in SECRETS[kind].values())
        tokens = [t for t in getattr(fake, "tokens", []) if t != "expired"]
    said = caplog.text + "".join(capsys.readouterr()) + repr(answers)
    assert any(each.result != "ok" for each in answers)
    for secret in [*SECRETS[kind].values(), *tokens]:
        assert secret not in said
