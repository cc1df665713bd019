"""The list of feedback: once for each event, filtered, paged, marked, erased."""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import httpx
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from services.alerts.inbound.http import add_routes
from services.alerts.store import erasure as erasure_store
from services.alerts.store import tables
from services.alerts.store.rows import forget
from services.alerts.store.tables import api_token
from shared.contracts import events
from shared.contracts.activity import Activity, ActivityData
from shared.contracts.events import Owner, Profile
from shared.http.access import Tokens
from shared.http.app import create_app
from shared.postgres.engine import unit_of_work
from shared.runtime.health import Health
from tests.integration.alerts.harness import AlertsHarness, rows
from tests.integration.alerts.message_parts import event, interaction, profile
from tests.unit.alerts.samples import assessed, day

pytestmark = pytest.mark.stack


@pytest.fixture
async def bench(engine: AsyncEngine) -> AsyncIterator[AlertsHarness]:
    """Provide a harness without endpoints."""
    async with AlertsHarness(engine) as made:
        yield made


@pytest.fixture
async def api(bench: AlertsHarness) -> AsyncIterator[httpx.AsyncClient]:
    """Provide a client with a token for everything here."""
    tokens = Tokens(bench.engine, api_token, bench.clock)
    token = await tokens.create("ann", ["customers:read", "tasks:write"])
    app = create_app("test", Health(bench.clock))
    add_routes(app, bench.parts(tokens))
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app),
        base_url="http://alerts",
        headers={"authorization": f"Bearer {token}"},
    ) as client:
        yield client


def feedback(kind: str, at: datetime, name: str, **more: Any) -> Activity:
    """Return a feedback event."""
    data = ActivityData(kind=kind, text=more.pop("text", None), score=more.pop("score", None))
    return event(events.FEEDBACK, data, at, name, **more)


async def found(api: httpx.AsyncClient, query: str) -> list[dict[str, Any]]:
    """Return the feedback of a query."""
    answer = await api.get(f"/v1/feedback?{query}")
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


async def test_a_suggestion_reaches_the_list_once(
    bench: AlertsHarness, api: httpx.AsyncClient
) -> None:
    """Sent twice in one batch and again in another; shown with what the customer is worth."""
    known = Profile(name="Wang", owner=Owner(id="o-1"))
    said = feedback("suggestion", day(0), "f-1", text="Open on Sundays, 请周日营业")
    await bench.read_activity(profile(known, day(-9)), said, said)
    await bench.read_activity(said)
    await bench.read_risk(assessed(1, 0))
    (item,) = await found(api, "kind=suggestion&state=new&owner=o-1")
    assert item["text"] == "Open on Sundays, 请周日营业"
    assert (item["customer_name"], item["owner_id"]) == ("Wang", "o-1")
    assert (item["band"], item["value_at_risk"], item["currency"]) == ("high", 60.0, "USD")
    assert (item["source"], item["event_id"]) == ("/t", "f-1")


async def test_filters_and_pages(bench: AlertsHarness, api: httpx.AsyncClient) -> None:
    """Many at the same instant: none is missed and none is listed twice."""
    kinds = ("suggestion", "survey", "complaint_opened")
    await bench.read_activity(
        *(
            feedback(kinds[n % 3], day(n // 6), f"f-{n}", subject=f"c-{n % 2}", score=float(n % 10))
            for n in range(18)
        ),
        feedback("suggestion", day(-400), "old", backfill="import-1"),
    )
    seen, cursor = [], ""
    while True:
        page = (await api.get(f"/v1/feedback?limit=4{cursor}")).json()
        seen += page["items"]
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"
    assert len({item["id"] for item in seen}) == len(seen) == 19
    times = [item["at"] for item in seen]
    assert times == sorted(times, reverse=True)
    assert len(await found(api, "kind=suggestion")) == 7
    assert len(await found(api, "kind=suggestion&state=new")) == 6, "a backfill is no news"
    assert len(await found(api, "customer_id=c-1")) == 9 + 1
    since = "since=2017-10-03T09:00:00Z&until=2017-10-04T09:00:00Z"
    assert len(await found(api, since)) == 6
    for wrong in ("kind=idea", "state=lost", "cursor=bad", "since=yesterday", "limit=0"):
        assert (await api.get(f"/v1/feedback?{wrong}")).status_code == 422, wrong


async def test_marking_keeps_the_first_actor(bench: AlertsHarness, api: httpx.AsyncClient) -> None:
    await bench.read_activity(feedback("suggestion", day(0), "f-1", text="x"))
    (item,) = await found(api, "state=new")
    where = f"/v1/feedback/{item['id']}/state"
    for _ in range(2):
        marked = (await api.put(where, json={"state": "answered"})).json()
        assert (marked["state"], marked["state_by"]) == ("answered", "ann")
    assert await found(api, "state=new") == []
    assert (await api.put(where, json={"state": "lost"})).status_code == 422
    unknown = await api.put("/v1/feedback/fb_none/state", json={"state": "read"})
    assert unknown.status_code == 404
    await bench.read_activity(feedback("suggestion", day(0), "f-1", text="x"))
    assert len(await found(api, "state=answered")) == 1, "a repeated event changes nothing"


async def test_what_cannot_be_read_is_a_dead_letter_without_its_text(
    bench: AlertsHarness, api: httpx.AsyncClient
) -> None:
    """Other processes may write to the topic; the rest of the batch is stored."""
    await bench.read_activity(
        feedback("idea", day(0), "f-1", text="secret wish"),
        feedback("suggestion", day(0), "f-2", text="x" * 4_001),
        feedback("survey", day(0), "f-3", score=11.0),
        feedback("suggestion", day(0), "f-4", text="a\0b"),
        feedback("suggestion", day(0), "f-5", subject="c" * 300),
        feedback("suggestion", day(0), "f-6", text="fine"),
        interaction("unsubscribed", "a\0b", day(0)),
    )
    assert [item["event_id"] for item in await found(api, "")] == ["f-6"]
    assert await rows(bench.engine, "SELECT * FROM alerts.subscription") == []
    ((packed,),) = await rows(bench.engine, "SELECT count(*) FROM alerts.outbox")
    assert packed


async def test_feedback_is_erased_with_the_customer_and_forgotten_in_time(
    bench: AlertsHarness, api: httpx.AsyncClient
) -> None:
    await bench.read_activity(
        feedback("suggestion", day(0), "f-1"),
        feedback("suggestion", day(0), "f-2", subject="c-2"),
        feedback("suggestion", day(-9), "f-3", subject="c-2"),
    )
    async with unit_of_work(bench.engine) as work:
        await erasure_store.forget(work, "c-1")
    assert {item["event_id"] for item in await found(api, "")} == {"f-2", "f-3"}
    async with unit_of_work(bench.engine) as work:
        assert await forget(work, tables.feedback.c.at, day(-1), 10) == 1
    assert {item["event_id"] for item in await found(api, "")} == {"f-2"}
