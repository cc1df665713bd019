"""What is shown of warnings: open tasks by group and cause, and what became of the warnings."""

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from services.alerts.core.realised import Realised
from services.alerts.handlers.dry_run_policy import DryRunPolicy
from services.alerts.handlers.measure_warnings import MeasureWarnings
from services.alerts.store.business_clock import BusinessClock
from services.alerts.store.due_tasks import OpenTasks
from services.alerts.store.policies import Policies
from shared.contracts import events
from shared.contracts.activity import Activity, ActivityData
from shared.runtime.clock import SystemClock
from tests.integration.alerts.harness import AlertsHarness
from tests.unit.alerts.samples import assessed, day

pytestmark = pytest.mark.stack

CUSTOMERS, BACK = 40, 10


async def test_warnings_are_measured_as_they_mature(engine: AsyncEngine) -> None:
    """Forty customers are warned about and ten of them buy again; their time is over at the end."""
    figures: list[tuple[Realised, float | None]] = []
    measure = MeasureWarnings(
        engine=engine,
        policies=Policies(),
        stored=DryRunPolicy(
            engine=engine,
        ),
        business_clock=BusinessClock(SystemClock(), replay=True),
        observe=lambda found, budget: figures.append((found, budget)),
    )
    async with AlertsHarness(engine) as bench:
        await bench.read_risk(
            *(assessed(1, 1, customer_id=f"c-{n:02}") for n in range(CUSTOMERS)),
        )
        await bench.read_activity(tick(2))
        await measure.measure()
        await bench.read_activity(*(bought(f"c-{n:02}", 3) for n in range(BACK)), tick(29))
        await measure.measure()
    first, last = (found for found, _ in figures)
    assert (first.per_100, first.precision) == (100.0, None)
    assert (last.per_100, last.precision) == (100.0, 1 - BACK / CUSTOMERS)
    assert [budget for _, budget in figures] == [None, None]
    open_now = await OpenTasks(engine)()
    assert sum(open_now.values()) == CUSTOMERS - BACK
    assert {queue for queue, _ in open_now} == {"unowned"}


def tick(at: float) -> Activity:
    return Activity(specversion="1.0", id=f"t{at}", source="/t", type=events.TICK, time=day(at))


def bought(customer: str, at: float) -> Activity:
    return Activity(
        specversion="1.0", id=customer, source="/t", type=events.PURCHASE, time=day(at),
        subject=customer, data=ActivityData(amount=1.0),
    )  # fmt: skip
