"""Verdicts that a webhook's receiver sends back, signed with the endpoint's own key."""

import json
from collections.abc import AsyncIterator
from datetime import timedelta

import httpx
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from services.alerts.delivery.core.signature import headers
from services.alerts.delivery.store.delivery_log import DeliveryLog
from services.alerts.inbound.http.callbacks import BODIES, CALLBACKS, Returning, add_callbacks
from shared.http.app import create_app
from shared.http.borders import Limits
from shared.runtime.health import Health
from tests.integration.alerts.harness import AlertsHarness, rows
from tests.integration.alerts.message_parts import take_result
from tests.integration.alerts.receiver import SECRET, Receiver
from tests.unit.alerts.delivery.test_signature import OTHER
from tests.unit.alerts.samples import assessed

pytestmark = pytest.mark.stack

TASKS = "SELECT status, verdict FROM alerts.task"


@pytest.fixture
async def bench(engine: AsyncEngine, receiver: Receiver) -> AsyncIterator[AlertsHarness]:
    """Provide a harness with one endpoint."""
    async with AlertsHarness(engine, endpoints={"crm": receiver.url}) as made:
        yield made


@pytest.fixture
async def api(bench: AlertsHarness) -> AsyncIterator[httpx.AsyncClient]:
    """Provide a client without a token."""
    app = create_app("test", Health(bench.clock), Limits(open=(CALLBACKS,), bodies=BODIES))
    log = DeliveryLog(bench.engine)
    add_callbacks(
        app,
        Returning(
            bench.engine,
            bench.stored,
            log,
            bench.give_verdict(),
            take_result(bench.engine, bench.clock),
            bench.clock,
        ),
    )
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://alerts"
    ) as client:
        yield client


def verdict(task_id: str, word: str = "reached") -> bytes:
    data = {"task_id": task_id, "verdict": word, "note": "老客户"}
    return json.dumps({"type": "retention_task.verdict", "data": data}).encode()


async def task_of(bench: AlertsHarness) -> str:
    await bench.read_risk(assessed(1, 0))
    ((task_id,),) = await rows(bench.engine, "SELECT id FROM alerts.task")
    return str(task_id)


async def test_a_signed_verdict_closes_the_task_once(
    bench: AlertsHarness, api: httpx.AsyncClient
) -> None:
    body = verdict(await task_of(bench))
    signed = headers("cb_1", bench.clock.now(), body, [SECRET])
    for _ in range(2):
        answer = await api.post("/v1/callbacks/crm", content=body, headers=signed)
        assert (answer.status_code, answer.json()["verdict"]) == (200, "reached")
    assert await rows(bench.engine, TASKS) == [("closed", "reached")]
    events = "SELECT count(*) FROM alerts.task_event WHERE kind = 'verdict'"
    assert await rows(bench.engine, events) == [(1,)]
    other = verdict(body.decode().split('"task_id": "')[1].split('"')[0], "wrong_alarm")
    signed = headers("cb_2", bench.clock.now(), other, [SECRET])
    assert (await api.post("/v1/callbacks/crm", content=other, headers=signed)).status_code == 409


@pytest.mark.parametrize("age_s", [301, -301])
async def test_an_old_or_early_one_is_refused(
    bench: AlertsHarness, api: httpx.AsyncClient, age_s: int
) -> None:
    body = verdict(await task_of(bench))
    signed = headers("cb_1", bench.clock.now() - timedelta(seconds=age_s), body, [SECRET])
    answer = await api.post("/v1/callbacks/crm", content=body, headers=signed)
    assert answer.status_code == 401
    assert await rows(bench.engine, TASKS) == [("open", None)]


async def test_what_is_not_genuine_is_refused_in_one_way(
    bench: AlertsHarness, api: httpx.AsyncClient
) -> None:
    body = verdict(await task_of(bench))
    good = headers("cb_1", bench.clock.now(), body, [SECRET])
    wrong = headers("cb_1", bench.clock.now(), body, [OTHER])
    answers = [
        await api.post("/v1/callbacks/crm", content=body, headers=wrong),
        await api.post("/v1/callbacks/crm", content=body + b" ", headers=good),
        await api.post("/v1/callbacks/crm", content=body),
        await api.post("/v1/callbacks/none", content=body, headers=good),
        await api.post("/v1/callbacks/crm", content=body, headers=good | {"webhook-id": "cb_2"}),
    ]
    assert {(a.status_code, a.text) for a in answers} == {(401, answers[0].text)}
    assert await rows(bench.engine, TASKS) == [("open", None)]


async def test_an_endpoint_closes_only_tasks_that_were_sent_to_it(
    bench: AlertsHarness, api: httpx.AsyncClient
) -> None:
    task = await task_of(bench)
    async with bench.engine.begin() as connection:
        await connection.exec_driver_sql("UPDATE alerts.delivery SET endpoint_id = 'other'")
    for body in (verdict(task), verdict("rt_none")):
        signed = headers("cb_1", bench.clock.now(), body, [SECRET])
        answer = await api.post("/v1/callbacks/crm", content=body, headers=signed)
        assert answer.status_code == 404
    assert await rows(bench.engine, TASKS) == [("open", None)]


async def test_bad_and_huge_bodies_are_refused(
    bench: AlertsHarness, api: httpx.AsyncClient
) -> None:
    for body, status in (
        (b"{}", 422),
        (b"not json", 422),
        (verdict("rt_1", "maybe"), 422),
        (b"x" * 65_537, 413),
    ):
        signed = headers("cb_1", bench.clock.now(), body, [SECRET])
        answer = await api.post("/v1/callbacks/crm", content=body, headers=signed)
        assert answer.status_code == status


async def test_an_unknown_endpoint_answers_as_a_known_one(
    bench: AlertsHarness, api: httpx.AsyncClient
) -> None:
    """A caller who guesses learns nothing from the answer, whatever is wrong with the request."""
    body, now = verdict("rt_1"), bench.clock.now()
    signed = headers("cb_1", now, body, [OTHER])
    old = headers("cb_1", now - timedelta(hours=1), body, [SECRET])
    for given in ({}, signed, old, signed | {"webhook-timestamp": "9" * 300}):
        for content in (body, b"{", b"[" * 5_000, rb'{"type": "\ud800\u0000"}'):
            answers = [
                await api.post(f"/v1/callbacks/{endpoint}", content=content, headers=given)
                for endpoint in ("crm", "nobody", "zoho/x")
            ]
            assert answers[0].status_code == 401
            assert answers[0].json() == answers[1].json()


async def test_hostile_content_with_a_genuine_signature(
    bench: AlertsHarness, api: httpx.AsyncClient
) -> None:
    """A trusted sender, too, gets an error that names the problem, not an internal error."""
    for body in (
        rb'{"type": "retention_task.verdict", "data": {"task_id": "\u0000", "verdict": "reached"}}',
        rb'{"type": "retention_task.verdict", "data": {"task_id": "\ud800", "verdict": "reached"}}',
        b"[" * 5_000,
        b"9" * 5_000,
        b"\xff",
        b"",
    ):
        signed = headers("cb_1", bench.clock.now(), body, [SECRET])
        answer = await api.post("/v1/callbacks/crm", content=body, headers=signed)
        assert answer.status_code == 422, body
