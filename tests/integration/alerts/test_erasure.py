"""An erased customer's data go from alerts, and what arrives from other topics stays out."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from services.alerts.handlers.erase_customers import EraseMessages
from services.alerts.store.erasure import DELETED, RENAMED, SENT
from services.alerts.store.tables import SCHEMA, metadata
from shared.contracts import events, risk
from shared.contracts.activity import Activity, ActivityData
from shared.contracts.events import Profile
from shared.contracts.headers import ERASURE_AT, ERASURE_REQUEST
from shared.kafka.batch import Batch
from shared.postgres.engine import unit_of_work
from shared.postgres.ledger import Ledger
from tests.integration.alerts.doubles import Fetched
from tests.integration.alerts.harness import AlertsHarness
from tests.unit.alerts.samples import assessed, day

pytestmark = [pytest.mark.stack, pytest.mark.erasure]

NAME = "Ottilie Quastenberg"


@pytest.fixture
async def bench(engine: AsyncEngine) -> AsyncIterator[AlertsHarness]:
    """Provide one endpoint without a sender."""
    async with AlertsHarness(engine, endpoints={"crm": "http://127.0.0.1:9/hook"}) as made:
        yield made


def erasure(request: str = "r-1", at: float = 1) -> Activity:
    """Return a request to erase the customer."""
    return Activity(
        specversion="1.0", id=request, source="e", type=events.ERASURE, time=day(at), subject="c-1"
    )


def bought(number: int, at: float) -> Activity:
    """Return a purchase of the customer."""
    return Activity(
        specversion="1.0", id=f"b-{number}", source="/t", type=events.PURCHASE, time=day(at),
        subject="c-1", data=ActivityData(amount=1.0),
    )  # fmt: skip


def named(at: float) -> Activity:
    """Return a profile of the customer."""
    return Activity(
        specversion="1.0", id=f"p-{at}", source="/t", type=events.PROFILE, time=day(at),
        subject="c-1", data=ActivityData(profile=Profile(name=NAME)),
    )  # fmt: skip


def warning(revision: int) -> risk.RiskAssessed:
    """Return an assessment that raises a task."""
    return assessed(revision, 0, customer_id="c-1", last_purchase_at=day(-20))


async def values(bench: AlertsHarness, query: str) -> list[tuple[Any, ...]]:
    """Return the rows of a query."""
    async with unit_of_work(bench.engine) as work:
        return [tuple(row) for row in await work.connection.execute(sa.text(query))]


async def read_tombstone(bench: AlertsHarness, *after: risk.RiskAssessed) -> None:
    """Read the end of what scoring published of the customer, and then these assessments."""
    claim = await Ledger(bench.engine, SCHEMA).take_over(("risk", 0), "test")
    begin = claim.next_offset or 0
    headers = ((ERASURE_REQUEST, b"r-1"), (ERASURE_AT, day(1).isoformat().encode()))
    end = Fetched("risk", 0, begin, None, b"c-1", headers=headers)
    rest = [
        Fetched("risk", 0, begin + n, risk.ENCODER.encode(each)) for n, each in enumerate(after, 1)
    ]
    await bench.assess()(Batch({claim.tp: claim}, {claim.tp: [end, *rest]}, {}))


async def test_the_task_closes_and_the_data_go(bench: AlertsHarness) -> None:
    """The endpoint gets the end without a name; the task stays for counts, under no one's id."""
    await bench.read_activity(named(-30), bought(1, -20))
    await bench.read_risk(warning(1))
    await bench.read_activity(erasure())
    ((customer, name, status, why),) = await values(
        bench, "SELECT customer_id, customer_name, status, close_reason FROM alerts.task"
    )
    assert customer.startswith("erased-")
    assert (name, status, why) == (None, "closed", "erased")
    for table in DELETED:
        assert await values(bench, f"SELECT 1 FROM alerts.{table}") == [], table  # noqa: S608
    bodies = await values(bench, "SELECT kind, convert_from(body, 'UTF8') FROM alerts.delivery")
    assert [kind for kind, _ in bodies] == ["retention_task.opened", "retention_task.closed"]
    assert NAME not in bodies[1][1]


async def test_an_unknown_customer_is_reported_as_such(bench: AlertsHarness) -> None:
    """Nothing was there, so no row is counted, and the answer advises to check the id."""
    await bench.read_activity(erasure())
    assert await values(bench, "SELECT rows FROM alerts.erasure") == [({},)]
    assert await values(bench, "SELECT customer_id FROM alerts.customer") == []


async def test_messages_go_once_they_were_delivered(bench: AlertsHarness) -> None:
    """Until then the endpoint would keep an open task of a person who is no customer any more."""
    await bench.read_activity(named(-30))
    await bench.read_risk(warning(1))
    await bench.read_activity(erasure())
    loop = EraseMessages(engine=bench.engine, clock=bench.clock)
    await loop.once()
    assert await values(bench, "SELECT done_at FROM alerts.erasure") == [(None,)]
    async with unit_of_work(bench.engine) as work:
        await work.driver.execute("UPDATE alerts.delivery SET status = 'delivered'")
    await loop.once()
    assert await values(bench, "SELECT 1 FROM alerts.delivery") == []
    ((done_at, customer),) = await values(bench, "SELECT done_at, customer_id FROM alerts.erasure")
    assert done_at is not None
    assert customer is None


async def test_an_assessment_from_before_that_is_read_after_raises_nothing(
    bench: AlertsHarness,
) -> None:
    """Topics are read independently: until scoring's tombstone all of them are older."""
    await bench.read_activity(erasure())
    await bench.read_risk(warning(1), warning(2))
    assert await values(bench, "SELECT 1 FROM alerts.task") == []
    assert await values(bench, "SELECT 1 FROM alerts.customer") == []
    await read_tombstone(bench, warning(1))
    assert await values(bench, "SELECT status FROM alerts.task") == [("open",)], "came back"


async def test_the_tombstone_may_be_read_first(bench: AlertsHarness) -> None:
    """What was stored before goes with the request, which is read later."""
    await bench.read_risk(warning(1))
    await read_tombstone(bench)
    await bench.read_activity(erasure())
    assert await values(bench, "SELECT close_reason FROM alerts.task") == [("erased",)]
    await bench.read_risk(warning(1))
    assert ("open",) in await values(bench, "SELECT status FROM alerts.task")


async def test_late_activity_stays_out_and_new_activity_counts(bench: AlertsHarness) -> None:
    """Also within the batch of the request, in the order of the log."""
    await bench.read_activity(bought(1, 0.5), named(0.5), erasure(), bought(2, 0.7), bought(3, 2))
    assert await values(bench, "SELECT id FROM alerts.purchase") == [("b-3",)]
    await bench.read_activity(bought(1, 0.5), named(0.6), named(3))
    assert await values(bench, "SELECT id FROM alerts.purchase") == [("b-3",)]
    ((at,),) = await values(bench, "SELECT profile_at FROM alerts.customer")
    assert at == day(3)
    await bench.read_activity(erasure())
    assert len(await values(bench, "SELECT 1 FROM alerts.purchase")) == 1, "the request works once"


def test_every_table_with_customers_is_covered() -> None:
    """A new table with a customer's id is erased without anybody having to think of it."""
    named_tables = {t.name for t in metadata.tables.values() if "customer_id" in t.c} - {"erasure"}
    assert named_tables == {*DELETED, *RENAMED, *SENT}
