"""Tasks that no risk raises (calendar, segments), and a policy tried on history."""

import asyncio
from collections.abc import AsyncIterator
from datetime import date
from typing import Any

import httpx
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from services.alerts.core.care import month_days
from services.alerts.core.document import read
from services.alerts.inbound.http import add_routes
from services.alerts.store.rules import Rules
from services.alerts.store.tables import api_token
from shared.contracts import events
from shared.contracts.activity import Activity, ActivityData
from shared.contracts.changes import CustomerChanged
from shared.contracts.events import Owner, Profile
from shared.contracts.risk import Standing
from shared.http.access import Tokens
from shared.http.app import create_app
from shared.postgres.engine import unit_of_work
from shared.runtime.health import Health
from tests.integration.alerts.bench import Bench, rows
from tests.unit.alerts.samples import assessed, day, sign

pytestmark = pytest.mark.stack

TITLE = {"en": "Wish a happy birthday", "zh-CN": "送上生日祝福"}
POLICY = {
    "name": "test",
    "playbooks": [{"id": "greet", "channels": ["phone"]}],
    "care": [
        {"name": "birthday", "title": TITLE, "playbook": "greet", "birthday_days_before": 1},
        {"name": "new_year", "title": TITLE, "playbook": "greet", "on": "01-01", "grades": ["vip"]},
        {"name": "revisit", "title": TITLE, "playbook": "greet", "every_days": 30,
         "grades": ["vip"]},
    ],
    "on_segment": [{"segment": "big", "title": TITLE, "playbook": "greet"}],
}  # fmt: skip


@pytest.fixture
async def bench(engine: AsyncEngine) -> AsyncIterator[Bench]:
    async with Bench(engine, endpoints={"crm": "http://127.0.0.1:9/hook"}) as made:
        made.policy = read(POLICY)
        yield made


def event(customer: str, at: float, kind: str, **data: Any) -> Activity:
    return Activity(
        specversion="1.0", id=f"{customer}-{at}-{kind}", source="/t", type=kind, time=day(at),
        subject=customer, data=ActivityData(**data),
    )  # fmt: skip


async def raised(bench: Bench) -> list[tuple[str, str]]:
    found = await rows(
        bench.engine, "SELECT customer_id, cause FROM alerts.task ORDER BY opened_at, customer_id"
    )
    return [(customer, cause) for customer, cause in found]


async def test_birthdays_holidays_and_revisits_fire_once_on_their_day(bench: Bench) -> None:
    """R11: day 0 is 2 October 2017."""
    born = Profile(birthday=date(1980, 10, 4), owner=Owner(id="o-1"))
    await bench.read_activity(
        event("c-1", -9, events.PROFILE, profile=born),
        event("c-2", -9, events.PROFILE, profile=Profile(birthday=date(1980, 10, 4),
                                                          do_not_contact=True)),
        event("c-3", -1, events.PURCHASE, amount=1.0),
    )  # fmt: skip
    await bench.read_risk(
        assessed(1, 0, "low", customer_id="c-3", standing=Standing(grade="vip"),
                 last_purchase_at=day(-1))
    )  # fmt: skip
    await bench.take_care()(day(0))
    assert await raised(bench) == []
    await asyncio.gather(bench.take_care()(day(1)), bench.take_care()(day(1.2)))
    assert await raised(bench) == [("c-1", "care:birthday")]
    care = bench.take_care()
    for at in range(2, 31):
        await care(day(at))
    assert (await raised(bench))[1:] == [("c-3", "care:revisit")]
    await bench.take_care()(day(91))  # 1 January
    assert (await raised(bench))[2:] == [("c-3", "care:new_year")]
    ((told,),) = await rows(
        bench.engine, "SELECT convert_from(body, 'UTF8') FROM alerts.delivery LIMIT 1"
    )
    assert '"title":"Wish a happy birthday"' in told
    assert '"kind":"care"' in told


async def test_a_task_that_no_risk_raised_says_what_is_known_of_the_customer(bench: Bench) -> None:
    """Band, probability, value, currency and grade of the newest assessment; else nothing."""
    await bench.read_risk(
        assessed(1, 0, "watch", customer_id="c-1", probability=0.4, standing=Standing(grade="vip"),
                 signs=[])
    )  # fmt: skip
    born = Profile(birthday=date(1980, 10, 4))
    await bench.read_activity(event("c-1", -9, events.PROFILE, profile=born))
    await bench.take_care()(day(1))
    await bench.read_changes(entered("c-1", 1), entered("c-2", 1))
    found = await rows(
        bench.engine,
        "SELECT customer_id, kind, band, probability, horizon_days, value_at_risk, currency, "
        "grade, grade_rank FROM alerts.task ORDER BY customer_id, kind",
    )
    assert found == [
        ("c-1", "care", "watch", 0.4, 28, 60.0, "USD", "vip", 0),
        ("c-1", "segment", "watch", 0.4, 28, 60.0, "USD", "vip", 0),
        ("c-2", "segment", "low", 0.0, 0, 0.0, "XXX", None, 2),
    ]


async def test_a_purchase_ends_no_care_task_and_it_stands_in_no_warnings_way(bench: Bench) -> None:
    born = Profile(birthday=date(1980, 10, 3))
    await bench.read_activity(event("c-1", -9, events.PROFILE, profile=born))
    await bench.take_care()(day(0))
    await bench.read_activity(event("c-1", 1, events.PURCHASE, amount=1.0))
    await bench.read_risk(assessed(1, 2, last_purchase_at=day(-20)))
    found = await rows(bench.engine, "SELECT kind, status FROM alerts.task ORDER BY opened_at")
    assert found == [("care", "open"), ("retention", "open")]


def test_leap_days() -> None:
    assert month_days(date(2016, 2, 29)) == ["02-29"]


def entered(customer: str, sequence: int, **more: Any) -> CustomerChanged:
    fields: dict[str, Any] = {
        "kind": "segment_entered",
        "segment": "big",
        "at": day(sequence),
    } | more
    return CustomerChanged(customer_id=customer, sequence=sequence, **fields)


async def test_entering_a_segment_triggers_its_action_exactly_once(bench: Bench) -> None:
    """R18"""
    await bench.read_changes(
        entered("c-1", 1),
        entered("c-1", 1),
        entered("c-2", 1, silent=True),
        entered("c-3", 1, segment="other"),
        entered("c-4", 1, segment="other", action="greet"),
        entered("c-1", 2, kind="segment_left"),
    )
    await bench.read_changes(entered("c-1", 1), entered("c-4", 1, segment="other", action="greet"))
    assert await raised(bench) == [("c-1", "segment:big"), ("c-4", "segment:other")]
    async with bench.engine.begin() as connection:
        await connection.exec_driver_sql("UPDATE alerts.task SET status = 'closed'")
    await bench.read_changes(entered("c-1", 1), entered("c-1", 3))
    assert (await raised(bench))[1:] == [("c-4", "segment:other"), ("c-1", "segment:big")]


async def test_entering_again_in_one_batch_leads_to_one_task(bench: Bench) -> None:
    """However often a customer moves in and out before we look, one task is open of it."""
    await bench.read_changes(
        entered("c-1", 1),
        entered("c-1", 2, kind="segment_left"),
        entered("c-1", 3),
        entered("c-2", 1),
        entered("c-1", 4),
        entered("c-1", 5, segment="other", action="greet"),
    )
    assert await raised(bench) == [
        ("c-1", "segment:big"),
        ("c-2", "segment:big"),
        ("c-1", "segment:other"),
    ]


@pytest.fixture
async def api(bench: Bench) -> AsyncIterator[httpx.AsyncClient]:
    tokens = Tokens(bench.engine, api_token, bench.clock)
    token = await tokens.create("ann", ["customers:read"])
    app = create_app("test", Health(bench.clock))
    add_routes(app, bench.parts(tokens))
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app),
        base_url="http://alerts",
        headers={"authorization": f"Bearer {token}"},
    ) as client:
        yield client


async def test_a_dry_run_says_what_would_have_been_raised_for_whom_and_how_rightly(
    bench: Bench, api: httpx.AsyncClient
) -> None:
    """Ten customers of whom one has a sign that the policy in force lets pass; three of the ten
    came back within the ten days that were left of their lapse length."""
    await bench.read_risk(
        *(assessed(1, 0, "high", customer_id=f"c-{n}", value_at_risk=float(n),
                   signs=[sign("value_falling" if n else "silence_beyond_rhythm")])
          for n in range(10)),
        assessed(2, 60, "watch", customer_id="c-0", last_purchase_at=None),
    )  # fmt: skip
    await bench.read_activity(*(event(f"c-{n}", 5, events.PURCHASE, amount=1.0) for n in (0, 1, 2)))
    await bench.read_activity(event("c-3", 11, events.PURCHASE, amount=1.0))
    off = POLICY | {"signs": {"value_falling": {"enabled": False}}}
    async with unit_of_work(bench.engine) as work:
        await Rules().put(work, read(off), "ann", day(0))
    before = await rows(bench.engine, "SELECT count(*) FROM alerts.task")
    answer = await api.post(
        f"/v1/policy/dry-run?begin={day(-1):%FT%TZ}&end={day(40):%FT%TZ}", json=POLICY
    )
    found = answer.json()
    assert answer.status_code == 200, found
    assert (found["this"]["raised"], found["in_force"]["raised"]) == (10, 1)
    assert (found["this"]["judged"], found["this"]["precision"]) == (10, 0.7)
    assert found["this"]["precision_low"] < 0.7 < found["this"]["precision_high"]
    assert found["this"]["most_at_risk"][0]["customer_id"] == "c-9"
    assert found["this"]["by_cause"] == {"value_falling": 9, "silence_beyond_rhythm": 1}
    assert '+      "enabled": true,' in found["diff"]
    assert await rows(bench.engine, "SELECT count(*) FROM alerts.task") == before
    wrong = await api.post("/v1/policy/dry-run", json={"signs": {"x": {}}})
    assert wrong.status_code == 422
