"""Tasks without a risk as their cause (calendar, segments), and a policy tried on history."""

import asyncio
from collections.abc import AsyncIterator
from datetime import date
from typing import Any

import httpx
import msgspec
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from services.alerts.core.playbook import named
from services.alerts.core.policy_document import read
from services.alerts.core.scheduled_tasks import month_days
from services.alerts.core.task_lifecycle import Start
from services.alerts.inbound.http import add_routes
from services.alerts.store import tasks as task_store
from services.alerts.store.policies import Policies
from services.alerts.store.tables import api_token
from services.alerts.store.tasks import QueueFilter
from shared.contracts import events
from shared.contracts.activity import Activity, ActivityData
from shared.contracts.changes import CustomerChanged
from shared.contracts.events import Owner, Profile
from shared.contracts.risk import Classification, Grade
from shared.http.access import Tokens
from shared.http.app import create_app
from shared.postgres.engine import unit_of_work
from shared.runtime.health import Health
from tests.integration.alerts.harness import AlertsHarness, outbox, rows
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

SAVED = named(read(POLICY), "greet").save_rate


@pytest.fixture
async def bench(engine: AsyncEngine) -> AsyncIterator[AlertsHarness]:
    async with AlertsHarness(engine, endpoints={"crm": "http://127.0.0.1:9/hook"}) as made:
        made.policy = read(POLICY)
        yield made


def event(customer: str, at: float, kind: str, **data: Any) -> Activity:
    return Activity(
        specversion="1.0", id=f"{customer}-{at}-{kind}", source="/t", type=kind, time=day(at),
        subject=customer, data=ActivityData(**data),
    )  # fmt: skip


async def raised(bench: AlertsHarness) -> list[tuple[str, str]]:
    found = await rows(
        bench.engine, "SELECT customer_id, cause FROM alerts.task ORDER BY opened_at, customer_id"
    )
    return [(customer, cause) for customer, cause in found]


async def test_birthdays_holidays_and_revisits_fire_once_on_their_day(bench: AlertsHarness) -> None:
    """R11: day 0 is 2 October 2017."""
    born = Profile(birthday=date(1980, 10, 4), owner=Owner(id="o-1"))
    await bench.read_activity(
        event("c-1", -9, events.PROFILE, profile=born),
        event("c-2", -9, events.PROFILE, profile=Profile(birthday=date(1980, 10, 4),
                                                          do_not_contact=True)),
        event("c-3", -1, events.PURCHASE, amount=1.0),
    )  # fmt: skip
    await bench.read_risk(
        assessed(1, 0, "low", customer_id="c-3", standing=Classification(grade="vip"),
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
    ((reported,),) = await rows(
        bench.engine, "SELECT convert_from(body, 'UTF8') FROM alerts.delivery LIMIT 1"
    )
    assert '"title":"Wish a happy birthday"' in reported
    assert '"kind":"care"' in reported


async def test_a_task_without_a_risk_contains_what_is_known_of_the_customer(
    bench: AlertsHarness,
) -> None:
    """Band, probability, value, currency and grade come from the newest assessment, if any."""
    await bench.read_risk(
        assessed(1, 0, "watch", customer_id="c-1", probability=0.4,
                 standing=Classification(grade="vip"), signs=[])
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


async def test_a_purchase_ends_no_care_task_and_it_stands_in_no_warnings_way(
    bench: AlertsHarness,
) -> None:
    born = Profile(birthday=date(1980, 10, 3))
    await bench.read_activity(event("c-1", -9, events.PROFILE, profile=born))
    await bench.take_care()(day(0))
    await bench.read_activity(event("c-1", 1, events.PURCHASE, amount=1.0))
    await bench.read_risk(assessed(1, 2, last_purchase_at=day(-20)))
    found = await rows(bench.engine, "SELECT kind, status FROM alerts.task ORDER BY opened_at")
    assert found == [("care", "open"), ("retention", "open")]


def test_scheduled_dates_on_leap_days() -> None:
    assert month_days(date(2016, 2, 29)) == ["02-29"]


def entered(customer: str, sequence: int, **more: Any) -> CustomerChanged:
    fields: dict[str, Any] = {
        "kind": "segment_entered",
        "segment": "big",
        "at": day(sequence),
    } | more
    return CustomerChanged(customer_id=customer, sequence=sequence, **fields)


async def test_entering_a_segment_triggers_its_action_exactly_once(bench: AlertsHarness) -> None:
    """Checks R18."""
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


async def left_tasks(bench: AlertsHarness) -> list[tuple[Any, ...]]:
    return await rows(
        bench.engine,
        "SELECT customer_id, status, close_reason, version FROM alerts.task "
        "ORDER BY customer_id, opened_at",
    )


def left(customer: str, sequence: int, **more: Any) -> CustomerChanged:
    return entered(customer, sequence, kind="segment_left", **more)


async def test_leaving_the_segment_ends_its_task_and_sends_the_end(bench: AlertsHarness) -> None:
    """The task ends whatever its owner has done, as when a sign is over; other tasks stay."""
    await bench.read_risk(assessed(1, 0, customer_id="c-1"))
    await bench.read_changes(entered("c-1", 1), entered("c-2", 1), entered("c-3", 1))
    ((started,),) = await rows(bench.engine, "SELECT id FROM alerts.task WHERE customer_id = 'c-2'")
    await bench.act()(started, Start(), "ann")
    await bench.read_changes(left("c-1", 2), left("c-2", 2), left("c-3", 2, silent=True))
    assert await left_tasks(bench) == [
        ("c-1", "open", None, 1),
        ("c-1", "closed", "left_segment", 2),
        ("c-2", "closed", "left_segment", 2),
        ("c-3", "open", None, 1),
    ]
    reported = await rows(
        bench.engine,
        "SELECT convert_from(body, 'UTF8')::json #>> '{data,task,close_reason}' "
        "FROM alerts.delivery WHERE kind = 'retention_task.closed'",
    )
    assert reported == [("left_segment",)] * 2
    treatments = [(t.customer_id, t.detail) for t in await outbox(bench.engine)
                  if t.kind == "task_closed"]  # fmt: skip
    assert sorted(treatments) == [("c-1", "left_segment"), ("c-2", "left_segment")]


async def test_an_exit_that_is_read_again_ends_no_later_entrys_task(bench: AlertsHarness) -> None:
    way = [entered("c-1", 1), left("c-1", 2), entered("c-1", 3, at=day(2))]
    await bench.read_changes(*way)
    once = [("c-1", "closed", "left_segment", 2), ("c-1", "open", None, 1)]
    assert await left_tasks(bench) == once
    await bench.read_changes(*way)
    await bench.read_changes(left("c-1", 2))
    assert await left_tasks(bench) == once
    await bench.read_changes(left("c-1", 4))
    assert [row[1] for row in await left_tasks(bench)] == ["closed", "closed"]


async def test_entries_around_a_silent_exit_have_one_task(bench: AlertsHarness) -> None:
    """The table would refuse a second open task of the same segment on every attempt."""
    await bench.read_changes(entered("c-1", 1), left("c-1", 2, silent=True), entered("c-1", 3))
    assert await left_tasks(bench) == [("c-1", "open", None, 1)]


async def test_a_policy_that_asks_no_more_about_a_segment_leaves_no_task_behind(
    bench: AlertsHarness,
) -> None:
    await bench.read_changes(entered("c-1", 1))
    bench.policy = read({"name": "test"})
    await bench.read_changes(left("c-1", 2), left("c-9", 1))
    assert await left_tasks(bench) == [("c-1", "closed", "left_segment", 2)]
    assert await rows(bench.engine, "SELECT customer_id FROM alerts.customer") == [("c-1",)]


async def test_a_grade_set_by_hand_counts_for_planned_tasks_whichever_topic_is_faster(
    bench: AlertsHarness,
) -> None:
    """The change is read before an older assessment, and after it."""
    by_hand = entered("c-1", 1, kind="grade_changed", segment=None, before="regular", after="vip")
    older = assessed(
        1, 0, "watch", customer_id="c-1", standing=Classification(grade="regular"), signs=[]
    )
    await bench.read_changes(by_hand)
    await bench.read_risk(older)
    await bench.read_risk(msgspec.structs.replace(older, customer_id="c-2"))
    await bench.read_changes(msgspec.structs.replace(by_hand, customer_id="c-2"))
    await bench.read_changes(
        entered("c-1", 2),
        entered("c-2", 2),
        entered("c-2", 3, kind="grade_changed", segment=None, before="vip", after=None),
        entered("c-2", 4, kind="grade_changed", segment=None, before="vip", after="tomorrows"),
    )
    found = await rows(
        bench.engine, "SELECT customer_id, grade, grade_rank FROM alerts.task ORDER BY 1"
    )
    assert found == [("c-1", "vip", 0), ("c-2", "vip", 0)]
    await bench.read_risk(
        msgspec.structs.replace(
            older, revision=2, assessed_at=day(5), standing=Classification(grade="potential")
        )
    )
    grades = await rows(bench.engine, "SELECT customer_id, grade FROM alerts.customer ORDER BY 1")
    assert grades == [("c-1", "potential"), ("c-2", "vip")]


async def test_a_task_that_was_faster_than_the_first_assessment_learns_its_numbers(
    bench: AlertsHarness,
) -> None:
    await bench.read_changes(entered("c-1", 1))
    first = assessed(
        1,
        2,
        "watch",
        customer_id="c-1",
        probability=0.4,
        standing=Classification(grade="vip"),
        signs=[],
    )
    await bench.read_risk(first)
    found = await rows(
        bench.engine,
        "SELECT band, probability, value_at_risk, worth, currency, grade, grade_rank, version "
        "FROM alerts.task",
    )
    assert found == [("watch", 0.4, 60.0, pytest.approx(60.0 * SAVED), "USD", "vip", 0, 2)]
    kinds = await rows(bench.engine, "SELECT kind FROM alerts.delivery ORDER BY kind")
    assert kinds == [("retention_task.opened",), ("retention_task.updated",)]
    await bench.read_risk(msgspec.structs.replace(first, revision=2, probability=0.9))
    assert await rows(bench.engine, "SELECT probability, version FROM alerts.task") == [(0.4, 2)]


async def test_planned_tasks_stand_in_the_queue_by_worth(bench: AlertsHarness) -> None:
    await bench.read_risk(
        *(assessed(1, 0, "low", customer_id=f"c-{n}", value_at_risk=float(n), signs=[])
          for n in (1, 3, 2))
    )  # fmt: skip
    await bench.read_changes(*(entered(f"c-{n}", 1) for n in (1, 2, 3)))
    async with unit_of_work(bench.engine) as work:
        queue = await task_store.queue(work, QueueFilter("unowned", None, day(2)), None, 10)
    assert [task.customer_id for task in queue] == ["c-3", "c-2", "c-1"]


async def test_a_complaint_of_a_vip_comes_before_those_of_others_and_by_worth(
    bench: AlertsHarness,
) -> None:
    """Thirty complaints: the grade decides first, then value at risk times the save rate."""
    grades: list[Grade | None] = ["regular", "potential", None, "vip"]
    await bench.read_risk(
        *(assessed(1, 0, "low", customer_id=f"c-{n:02}", value_at_risk=float(30 - n),
                   standing=Classification(grade=grades[n % 4]), signs=[sign("complaint_open")])
          for n in range(30))
    )  # fmt: skip
    async with unit_of_work(bench.engine) as work:
        queue = await task_store.queue(work, QueueFilter("unowned", None, day(2)), None, 30)
    vips = [f"c-{n:02}" for n in range(30) if n % 4 == 3]
    assert [task.customer_id for task in queue][: len(vips)] == vips
    ranks = [(task.grade_rank, -task.worth) for task in queue]
    assert len(ranks) == 30
    assert ranks == sorted(ranks)


@pytest.fixture
async def api(bench: AlertsHarness) -> AsyncIterator[httpx.AsyncClient]:
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


async def test_a_dry_run_reports_the_tasks_and_how_many_were_right(
    bench: AlertsHarness, api: httpx.AsyncClient
) -> None:
    """One of ten customers has a sign that the policy in force accepts.

    Three of the ten came back within the ten days that were left of their lapse length.
    """
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
        await Policies().put(work, read(off), "ann", day(0))
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
