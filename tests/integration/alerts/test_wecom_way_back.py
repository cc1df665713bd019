"""Verdicts from WeCom: a click on a card counts once, and only from the owner."""

from typing import Any

import httpx
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.fakes.crm.wecom import CORP_ID, FakeWecom
from tests.integration.alerts.crm_scenario import (
    VERDICTS,
    CrmScenario,
    office,
    pass_by,
)
from tests.integration.alerts.harness import rows

pytestmark = pytest.mark.stack


async def click(place: CrmScenario, fake: FakeWecom, message: bytes, **how: Any) -> httpx.Response:
    """Return a click as WeCom sends it."""
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


async def test_17_a_click_by_another_member_changes_nothing(engine: AsyncEngine) -> None:
    fake = FakeWecom()
    async with office(engine, "wecom_app", fake) as place:
        task = await place.deliver()
        heard = await click(place, fake, fake.click("lisi", f"{task}@1", "leaving"))
        assert heard.status_code == 200, "WeCom is not to repeat it"
        assert await rows(engine, "SELECT verdict FROM alerts.task") == [(None,)]
        assert fake.updates == []


async def test_17_a_repeated_click_counts_once(engine: AsyncEngine) -> None:
    """Holds also for WeCom's own repetition, under a new signature."""
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
