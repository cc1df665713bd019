"""Holdout, outcomes measured from events, and the report, on a real database."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from services.alerts.core.holdout import drawn
from services.alerts.core.policy_document import read
from services.alerts.inbound.http import add_routes
from services.alerts.store.bulk_insert import COPIED_MIN
from services.alerts.store.tables import api_token
from shared.contracts import events
from shared.contracts.activity import Activity, ActivityData
from shared.http.access import Tokens
from shared.http.app import create_app
from shared.runtime.health import Health
from tests.integration.alerts.harness import AlertsHarness, outbox, rows
from tests.unit.alerts.samples import assessed, day

pytestmark = pytest.mark.stack

SHARE = 0.4
CUSTOMERS = [f"c-{n}" for n in range(300)]
HELD_OUT = {c for c in CUSTOMERS if drawn("test", c, SHARE)}


@pytest.fixture
async def bench(engine: AsyncEngine) -> AsyncIterator[AlertsHarness]:
    """Provide a policy that holds out two of five customers."""
    async with AlertsHarness(engine) as made:
        made.policy = read({"name": "test", "holdout": {"share": SHARE}})
        yield made


def bought(customer: str, at: float, amount: float, number: int = 0, **more: Any) -> Activity:
    kind = more.pop("kind", events.PURCHASE)
    return Activity(
        specversion="1.0", id=f"{customer}-{number}", source="/t", type=kind, time=day(at),
        subject=customer, data=ActivityData(amount=amount), **more,
    )  # fmt: skip


async def test_both_arms_are_measured_alike_whatever_comes_first_or_twice(
    bench: AlertsHarness,
) -> None:
    """R27, R28: when and how much a customer bought, without any input by hand."""
    treated = next(c for c in CUSTOMERS if c not in HELD_OUT)
    held = next(iter(sorted(HELD_OUT)))
    for customer in (treated, held):
        await bench.read_activity(bought(customer, 3, 20.0, 1))  # before its warning is read
        await bench.read_risk(assessed(1, 0, customer_id=customer))
        await bench.read_activity(
            bought(customer, 3, 20.0, 1),  # again
            bought(customer, -1, 500.0, 2),
            bought(customer, 5, 4.0, 3, kind=events.REFUND),
            bought(customer, 27, 30.0, 4),
            bought(customer, 29, 500.0, 5),
            bought(customer, 9, 500.0, 6, backfill="import"),
        )
    tend = bench.tend()
    bench.clock.at = day(29)
    await tend.iterate()
    assert await rows(bench.engine, "SELECT count(*) FROM alerts.trial WHERE purchases > 0") == [
        (0,)
    ]
    bench.clock.at = day(31)
    await tend.iterate()
    measured = await rows(
        bench.engine,
        "SELECT arm, eligible, returned_at, purchases, revenue FROM alerts.trial ORDER BY arm",
    )
    assert measured == [
        ("held_out", True, day(3), 2, 46.0),
        ("treated", True, day(3), 2, 46.0),
    ]
    tasks = await rows(bench.engine, "SELECT customer_id, close_reason FROM alerts.task")
    assert tasks == [(treated, "came_back")]
    facts = await outbox(bench.engine)
    (left,) = [f for f in facts if f.kind == "held_out"]
    assert (left.customer_id, left.policy, left.until) == (held, "test@1", day(28))


async def test_many_purchases_are_kept_once_whether_new_or_known(bench: AlertsHarness) -> None:
    """A batch with one known purchase stores all of its others."""
    kept = "SELECT customer_id, id, amount FROM alerts.purchase ORDER BY customer_id, id"
    first = [bought(c, 1, 10.0) for c in sorted(CUSTOMERS[:COPIED_MIN])]
    await bench.read_activity(*first, bought(first[0].subject, 1, 99.0))  # the first one is kept
    expected = [(e.subject, e.id, 10.0) for e in first]
    assert await rows(bench.engine, kept) == expected
    more = [bought(c, 2, 20.0, 1) for c in CUSTOMERS[: 2 * COPIED_MIN]]
    await bench.read_activity(*more, first[3])
    expected += [(e.subject, e.id, 20.0) for e in more]
    assert await rows(bench.engine, kept) == sorted(expected)


async def test_many_assessments_are_kept_once_whether_new_or_known(bench: AlertsHarness) -> None:
    """Assessments that are read again after a rewind stay unchanged beside new ones."""
    many = [assessed(1, 0, customer_id=c) for c in CUSTOMERS[: 2 * COPIED_MIN]]
    await bench.read_risk(*many[:COPIED_MIN], many[0])
    await bench.read_risk(*many)
    kept = "SELECT customer_id, revision, assessed_at FROM alerts.assessment ORDER BY customer_id"
    assert await rows(bench.engine, kept) == [
        (c, 1, day(0)) for c in sorted(m.customer_id for m in many)
    ]


async def test_purchases_are_kept_only_for_so_long(bench: AlertsHarness) -> None:
    await bench.read_activity(bought("c-1", 0, 1.0, 1), bought("c-1", 50, 1.0, 2))
    bench.clock.at = day(61)
    await bench.tend().iterate()
    assert await rows(bench.engine, "SELECT at FROM alerts.purchase") == [(day(50),)]


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


async def test_the_report_finds_what_was_planted(
    bench: AlertsHarness, api: httpx.AsyncClient
) -> None:
    """R28: seven of the ten treated customers come back, three of the ten others."""
    empty = (await api.get("/v1/effect")).json()["whole"]
    assert (empty["claim"], empty["reading"]) == ("not_enough_data", "Not enough data yet")
    await bench.read_risk(*(assessed(1, 0, customer_id=c) for c in CUSTOMERS))
    back = [
        bought(c, 5, 10.0) for n, c in enumerate(CUSTOMERS) if n % 10 < (3 if c in HELD_OUT else 7)
    ]
    await bench.read_activity(*back)
    # Later warnings, and those of customers who could not be held out, are not compared.
    await bench.read_risk(*(assessed(2, 7, "low", customer_id=c) for c in CUSTOMERS[:50]))
    await bench.read_risk(*(assessed(3, 40, customer_id=c) for c in CUSTOMERS[:50]))
    bench.clock.at = day(100)
    await bench.tend().iterate()
    found = (await api.get("/v1/effect?by=playbook&by=period")).json()
    whole = found["whole"]
    assert whole["treated"]["customers"] == 300 - len(HELD_OUT)
    assert whole["held_out"]["customers"] == len(HELD_OUT)
    assert whole["uplift"] == pytest.approx(0.4, abs=0.1)
    assert whole["anytime_low"] > 0
    assert (whole["claim"], set(found["parts"])) == ("helps", {"playbook", "period"})
    assert whole["revenue_low"] < whole["revenue_uplift"] < whole["revenue_high"]
    later = (await api.get("/v1/effect?begin=2018-01-01T00:00:00Z")).json()["whole"]
    assert later["treated"]["customers"] == 0
    assert (await api.get("/v1/effect?begin=2018-01-01T00:00:00")).status_code == 422
    ((rate, treated),) = await rows(
        bench.engine, "SELECT rate, treated FROM alerts.save_rate WHERE playbook = 'any'"
    )
    assert 0.1 < rate < 0.4
    assert treated == 300 - len(HELD_OUT)
    for language, title in (("en", "What the tasks do"), ("zh-CN", "任务效果报告")):
        page = await api.get(f"/v1/effect/report?language={language}")
        assert page.headers["content-type"].startswith("text/html")
        assert title in page.text
        assert "<svg" in page.text


async def test_a_measured_save_rate_orders_the_next_tasks(bench: AlertsHarness) -> None:
    async with bench.engine.begin() as connection:
        await connection.exec_driver_sql(
            "INSERT INTO alerts.save_rate VALUES ('any', 0.5, 100, 100, now())"
        )
    treated = next(c for c in CUSTOMERS if c not in HELD_OUT)
    await bench.read_risk(assessed(1, 0, customer_id=treated))
    assert await rows(bench.engine, "SELECT worth FROM alerts.task") == [(30.0,)]
