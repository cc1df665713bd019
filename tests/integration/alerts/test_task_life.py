"""What people and timers do to tasks, on a real database and over HTTP."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from services.alerts.core.owner import OwnerRecord
from services.alerts.core.policy_document import Policy, read
from services.alerts.inbound.http import add_routes
from services.alerts.ports import VerdictGiven
from services.alerts.store.policies import Policies
from services.alerts.store.tables import api_token
from services.alerts.store.tasks import forget_tasks
from shared.contracts import events
from shared.contracts.activity import Activity, ActivityData
from shared.contracts.events import Owner, Profile
from shared.http.access import Tokens
from shared.http.app import create_app
from shared.postgres.engine import unit_of_work
from shared.runtime.health import Health
from tests.integration.alerts.harness import (
    WALL_0,
    AlertsHarness,
    outbox,
    rows,
)
from tests.unit.alerts.samples import assessed, day

pytestmark = pytest.mark.stack

BUSINESS_0 = WALL_0
"""The start of business time, which is wall time in these tests."""


@pytest.fixture
async def bench(engine: AsyncEngine) -> AsyncIterator[AlertsHarness]:
    """Provide one endpoint without a sender, and a policy with targets, quiet nights and an end."""
    async with AlertsHarness(engine, endpoints={"crm": "http://127.0.0.1:9/hook"}) as made:
        made.policy = policy()
        yield made


def policy(**changes: Any) -> Policy:
    playbooks = [{"id": "call", "response_hours": 4}]
    return read({"name": "test", "playbooks": playbooks, "expire_days": 30} | changes)


@pytest.fixture
async def api(bench: AlertsHarness) -> AsyncIterator[httpx.AsyncClient]:
    """Provide a client named ann with every right."""
    tokens = Tokens(bench.engine, api_token, bench.clock)
    token = await tokens.create("ann", ["admin"])
    app = create_app("test", Health(bench.clock))
    add_routes(app, bench.parts(tokens))
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app),
        base_url="http://alerts",
        headers={"authorization": f"Bearer {token}"},
    ) as client:
        yield client


async def owns(bench: AlertsHarness, customer: str, owner: str) -> None:
    data = ActivityData(profile=Profile(owner=Owner(id=owner)))
    await bench.read_activity(
        Activity(specversion="1.0", id="p", source="/t", type=events.PROFILE, time=day(-1),
                 subject=customer, data=data)
    )  # fmt: skip


async def record(bench: AlertsHarness, owner: str, **fields: Any) -> None:
    async with unit_of_work(bench.engine) as work:
        await Policies().put_owner(work, OwnerRecord(id=owner, **fields), "test", bench.clock.now())


async def warn(bench: AlertsHarness, customer: str, owner: str = "o-1", **changes: Any) -> str:
    """Raise a task now; return its id."""
    await owns(bench, customer, owner)
    now = {"assessed_at": bench.clock.now(), "last_purchase_at": day(-20)}
    await bench.read_risk(assessed(1, 0, customer_id=customer, **(now | changes)))
    ((task_id,),) = await rows(
        bench.engine,
        f"SELECT id FROM alerts.task WHERE customer_id = '{customer}'",  # noqa: S608
    )
    return str(task_id)


async def reported(bench: AlertsHarness) -> list[tuple[str, str]]:
    found = await rows(bench.engine, "SELECT task_id, kind FROM alerts.delivery ORDER BY seq")
    return [(task, kind.removeprefix("retention_task.")) for task, kind in found]


async def history(api: httpx.AsyncClient, task_id: str) -> list[tuple[str, str]]:
    shown = (await api.get(f"/v1/tasks/{task_id}")).json()
    return [(event["actor"], event["kind"]) for event in shown["history"]]


async def test_acknowledge_start_snooze_comment_and_who_did_it(
    bench: AlertsHarness, api: httpx.AsyncClient
) -> None:
    task_id = await warn(bench, "c-1")
    path = f"/v1/tasks/{task_id}"
    for _ in range(2):
        assert (await api.post(path + "/acknowledge")).json()["progress"] == "acknowledged"
    assert (await api.post(path + "/start")).json()["progress"] == "in_progress"
    until = (bench.clock.now() + timedelta(days=2)).isoformat()
    snoozed = (await api.post(path + "/snooze", json={"until": until})).json()
    assert snoozed["snoozed_until"] is not None
    assert (await api.get("/v1/queue?owner=o-1")).json()["items"] == []
    bench.clock.pass_by(timedelta(days=2))
    ((back,),) = [(await api.get("/v1/queue?owner=o-1")).json()["items"]]
    assert back["id"] == task_id
    for _ in range(2):
        said = {"idempotency-key": "k-1"}
        await api.post(path + "/comments", json={"text": "called, no answer"}, headers=said)
    assert await history(api, task_id) == [
        ("ann", kind) for kind in ("acknowledged", "started", "snoozed", "commented")
    ]
    assert await reported(bench) == [(task_id, "opened")]


async def test_a_key_that_was_used_for_another_request_is_refused(
    bench: AlertsHarness, api: httpx.AsyncClient
) -> None:
    task_id = await warn(bench, "c-1")
    path, said = f"/v1/tasks/{task_id}/comments", {"idempotency-key": "k-1"}
    first = await api.post(path, json={"text": "a"}, headers=said)
    again = await api.post(path, json={"text": "a"}, headers=said)
    other = await api.post(path, json={"text": "b"}, headers=said)
    assert (first.status_code, again.json(), other.status_code) == (200, first.json(), 409)
    both = await asyncio.gather(
        *(api.post(path, json={"text": "c"}, headers={"idempotency-key": "k-2"}) for _ in range(5))
    )
    assert {answer.status_code for answer in both} == {200}
    assert len(await rows(bench.engine, "SELECT 1 FROM alerts.task_event")) == 2


async def test_a_dismissed_task_is_closed_and_published_once(
    bench: AlertsHarness, api: httpx.AsyncClient
) -> None:
    task_id = await warn(bench, "c-1")
    for _ in range(2):
        answer = await api.post(f"/v1/tasks/{task_id}/dismiss", json={"note": "moved abroad"})
        assert (answer.json()["status"], answer.json()["close_reason"]) == ("closed", "dismissed")
    assert (await api.post(f"/v1/tasks/{task_id}/start")).status_code == 409
    assert (await api.post(f"/v1/tasks/{task_id}/comments", json={"text": "x"})).status_code == 200
    assert await reported(bench) == [(task_id, "opened"), (task_id, "closed")]
    assert [fact.kind for fact in await outbox(bench.engine)] == ["task_raised", "task_closed"]


@pytest.mark.parametrize(
    ("action", "body", "status"),
    [
        ("snooze", {"until": "2000-01-01T00:00:00Z"}, 422),
        ("snooze", {"until": "2026-01-01T00:00:00"}, 422),
        ("escalate", {}, 422),
        ("reassign", {}, 422),
        ("dismiss", {}, 422),
        ("dismiss", {"note": "a\0b"}, 422),
        ("comments", {"text": ""}, 422),
        ("close", {"verdict": "reached", "leaving_cause": "price"}, 422),
    ],
)
async def test_what_makes_no_sense_is_a_problem_document(
    bench: AlertsHarness, api: httpx.AsyncClient, action: str, body: dict[str, Any], status: int
) -> None:
    task_id = await warn(bench, "c-1")
    answer = await api.post(f"/v1/tasks/{task_id}/{action}", json=body)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert (await api.post("/v1/tasks/rt_none/start")).status_code == 404


async def test_the_cause_of_leaving_is_recorded(
    bench: AlertsHarness, api: httpx.AsyncClient
) -> None:
    """Checks R9."""
    task_id = await warn(bench, "c-1")
    said = {"verdict": "leaving", "leaving_cause": "price"}
    answer = await api.post(f"/v1/tasks/{task_id}/close", json=said)
    assert answer.json()["leaving_cause"] == "price"
    assert (await outbox(bench.engine))[-1].leaving_cause == "price"


async def test_an_unanswered_task_goes_to_the_manager_and_then_to_another_owner(
    bench: AlertsHarness, api: httpx.AsyncClient
) -> None:
    await record(bench, "o-1", manager_id="boss", fallback_id="o-2")
    task_id = await warn(bench, "c-1")
    tend = bench.tend()
    bench.clock.pass_by(timedelta(hours=3))
    await tend.iterate()
    assert await reported(bench) == [(task_id, "opened")]
    bench.clock.pass_by(timedelta(hours=1))
    await asyncio.gather(tend.iterate(), bench.tend().iterate())
    shown = (await api.get(f"/v1/tasks/{task_id}")).json()
    assert (shown["escalated_to"], shown["owner"]["id"]) == ("boss", "o-1")
    bench.clock.pass_by(timedelta(hours=4))
    await tend.iterate()
    await tend.iterate()
    shown = (await api.get(f"/v1/tasks/{task_id}")).json()
    assert (shown["owner"]["id"], shown["escalations"]) == ("o-2", 2)
    assert await history(api, task_id) == [("timer", "escalated"), ("timer", "reassigned")]
    assert await reported(bench) == [(task_id, kind) for kind in ("opened", "updated", "updated")]


async def test_who_has_answered_is_not_escalated(
    bench: AlertsHarness, api: httpx.AsyncClient
) -> None:
    await record(bench, "o-1", manager_id="boss")
    task_id = await warn(bench, "c-1")
    await api.post(f"/v1/tasks/{task_id}/acknowledge")
    bench.clock.pass_by(timedelta(days=2))
    await bench.tend().iterate()
    assert await history(api, task_id) == [("ann", "acknowledged")]


async def test_an_old_task_expires(bench: AlertsHarness, api: httpx.AsyncClient) -> None:
    task_id = await warn(bench, "c-1")
    bench.clock.pass_by(timedelta(days=31))
    await bench.tend().iterate()
    shown = (await api.get(f"/v1/tasks/{task_id}")).json()
    assert (shown["status"], shown["close_reason"]) == ("closed", "expired")
    assert shown["history"][0]["kind"] == "expired"


async def test_a_task_raised_at_night_is_sent_in_the_morning(bench: AlertsHarness) -> None:
    hour = bench.clock.now().hour
    quiet = {"quiet_from": f"{(hour - 1) % 24:02}:00", "quiet_until": f"{(hour + 2) % 24:02}:00"}
    week = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
    bench.policy = policy(hours=quiet | {"working_days": week})
    task_id = await warn(bench, "c-1")
    await bench.tend().iterate()
    assert await reported(bench) == []
    bench.clock.pass_by(timedelta(hours=3))
    await bench.tend().iterate()
    await bench.tend().iterate()
    assert await reported(bench) == [(task_id, "opened")]


async def test_a_task_that_ends_before_the_morning_is_never_sent(bench: AlertsHarness) -> None:
    bench.policy = policy(hours={"working_days": [_other_day(bench)], "quiet_from": "00:00",
                                 "quiet_until": "00:01"})  # fmt: skip
    await warn(bench, "c-1")
    later = bench.clock.now() + timedelta(hours=1)
    await bench.read_activity(
        Activity(specversion="1.0", id="b", source="/t", type=events.PURCHASE, time=later,
                 subject="c-1")
    )  # fmt: skip
    assert await rows(bench.engine, "SELECT close_reason FROM alerts.task") == [("came_back",)]
    assert await reported(bench) == []


def _other_day(bench: AlertsHarness) -> str:
    week = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
    return week[(bench.clock.now().weekday() + 3) % 7]


async def test_an_owner_gets_what_is_most_worth_doing_and_the_rest_waits_or_moves(
    bench: AlertsHarness, api: httpx.AsyncClient
) -> None:
    await record(bench, "o-1", capacity_per_day=2, fallback_id="o-2")
    await record(bench, "o-2", name="Bo", capacity_per_day=1)
    ids = [await warn(bench, f"c-{n}", value_at_risk=10.0 * n) for n in range(5)]
    assert await reported(bench) == []
    await asyncio.gather(bench.tend().iterate(), bench.tend().iterate())
    assert {task for task, _ in await reported(bench)} == {ids[4], ids[3], ids[2]}
    queue = (await api.get("/v1/queue?owner=o-1")).json()["items"]
    assert [task["id"] for task in queue] == [ids[4], ids[3]]
    moved = (await api.get(f"/v1/tasks/{ids[2]}")).json()
    assert moved["owner"] == {"id": "o-2", "name": "Bo"}
    assert moved["history"][0]["kind"] == "rebalanced"
    assert "5 tasks for a day of 2" in moved["history"][0]["detail"]["reason"]
    waiting = (await api.get(f"/v1/tasks/{ids[1]}")).json()
    assert waiting["waiting"] == "capacity"
    bench.clock.pass_by(timedelta(days=1))
    await bench.tend().iterate()
    assert {task for task, kind in await reported(bench) if kind == "opened"} == set(ids)


async def test_the_queue_page_by_page_vip_first(
    bench: AlertsHarness, api: httpx.AsyncClient
) -> None:
    """Checks R13."""
    for n in range(7):
        await warn(bench, f"c-{n}", value_at_risk=float(n % 3))
    seen, cursor = [], ""
    while True:
        page = (await api.get(f"/v1/queue?owner=o-1&limit=3{cursor}")).json()
        seen += [(task["worth"], task["id"]) for task in page["items"]]
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"
    assert len(seen) == len(set(seen)) == 7
    assert seen == sorted(seen, key=lambda each: (-each[0], each[1]))


async def test_policies_are_versions_with_a_diff_and_who(
    bench: AlertsHarness, api: httpx.AsyncClient
) -> None:
    """R15: thresholds change without a redeploy; the audit shows what changed."""
    first = await api.put("/v1/policy", json={"name": "p", "cooldown_days": 28})
    again = await api.put("/v1/policy", json={"name": "p", "cooldown_days": 28})
    second = await api.put(
        "/v1/policy?expected=1&note=less+often", json={"name": "p", "cooldown_days": 14}
    )
    late = await api.put("/v1/policy?expected=1", json={"name": "p", "cooldown_days": 7})
    assert (first.json()["version"], again.json()["version"]) == (1, 1)
    assert (second.json()["version"], second.json()["actor"]) == (2, "ann")
    assert '-  "cooldown_days": 28,' in second.json()["diff"]
    assert '+  "cooldown_days": 14,' in second.json()["diff"]
    assert late.status_code == 422
    wrong = await api.put("/v1/policy", json={"cooldown_days": "x"})
    assert (wrong.status_code, "cooldown_days" in wrong.json()["detail"]) == (422, True)
    listed = (await api.get("/v1/policy/versions?limit=1")).json()
    assert [each["version"] for each in listed["items"]] == [2]
    rest = (await api.get(f"/v1/policy/versions?cursor={listed['next']}")).json()
    assert [each["version"] for each in rest["items"]] == [1]


async def test_a_changed_policy_decides_the_next_assessment(
    bench: AlertsHarness, api: httpx.AsyncClient
) -> None:
    """Checks R15."""
    policies = Policies()
    await api.put("/v1/policy", json={"name": "p", "cooldown_days": 1})
    async with unit_of_work(bench.engine) as work:
        assert (await policies.current(work))[1].cooldown_days == 1
    await api.put("/v1/policy", json={"name": "p", "cooldown_days": 2})
    async with unit_of_work(bench.engine) as work:
        assert await policies.current(work) == (2, read({"name": "p", "cooldown_days": 2}))


async def test_a_policy_that_an_earlier_version_stored_still_decides(bench: AlertsHarness) -> None:
    """The fields about bands are gone; the rest of the policy counts."""
    async with unit_of_work(bench.engine) as work:
        await work.driver.execute(
            "INSERT INTO alerts.policy (version, document, diff, actor, created_at) "
            "SELECT 1, r.document, '', 'ann', $2 "
            "FROM json_to_record($1::json) AS r(document jsonb)",
            '{"document": {"name": "p", "band_raise": "watch", "band_raise_by_grade": {}, '
            '"win_back_within_days": null, "cooldown_days": 9, "traits": ["seldom_buyer"]}}',
            WALL_0,
        )
        assert await Policies().current(work) == (1, read({"name": "p", "cooldown_days": 9}))


async def test_owners_are_stored_and_listed(api: httpx.AsyncClient) -> None:
    await api.put("/v1/owners/o-1", json={"capacity_per_day": 5, "time_zone": "Asia/Shanghai"})
    assert (await api.put("/v1/owners/o-2", json={"time_zone": "Nowhere"})).status_code == 422
    (found,) = (await api.get("/v1/owners")).json()["items"]
    assert (found["id"], found["capacity_per_day"]) == ("o-1", 5)


async def test_the_openapi_document_names_every_action(api: httpx.AsyncClient) -> None:
    paths = (await api.get("/openapi.json")).json()["paths"]
    for action in ("acknowledge", "start", "snooze", "comments", "reassign", "escalate", "dismiss"):
        operation = paths[f"/v1/tasks/{{task_id}}/{action}"]["post"]
        assert "Idempotency-Key" in {p["name"] for p in operation["parameters"]}


async def test_old_closed_tasks_go_with_their_history(bench: AlertsHarness) -> None:
    """Open ones stay, however old they are; so do closed ones that are not old enough."""
    for number, customer in enumerate(("old", "open", "new")):
        at = 0.0 if customer != "new" else 50.0
        await bench.read_risk(assessed(number + 1, at, customer_id=customer))
    found = dict(await rows(bench.engine, "SELECT customer_id, id FROM alerts.task"))
    for customer in ("old", "new"):
        await bench.give_verdict()(VerdictGiven(found[customer], "reached", None))
    assert await forget_tasks(bench.engine, day(49), 10) == 1
    assert await forget_tasks(bench.engine, day(49), 10) == 0
    left = await rows(bench.engine, "SELECT customer_id FROM alerts.task ORDER BY 1")
    assert left == [("new",), ("open",)]
    logged = await rows(bench.engine, "SELECT DISTINCT customer_id FROM alerts.task_event")
    assert ("old",) not in logged
    assert ("new",) in logged
