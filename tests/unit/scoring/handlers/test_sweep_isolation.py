"""A customer who triggers a fault in the sweep is set aside; all others are assessed."""

from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from services.scoring.handlers.assess_customers import Assessor
from services.scoring.handlers.silence_sweep import KIND
from shared.runtime.isolation import ALONE_FROM, ALONE_MAX, READ_S
from tests.fakes import activity
from tests.fakes.item_failures import FailuresInMemory
from tests.fakes.scoring_store import MemorySender, MemoryStore
from tests.fakes.scoring_worker import ScoringWorker

CUSTOMERS = ("ann", "bad", "cem", "dee")


class Death(BaseException):
    """Stands for the end of the process in the middle of its work."""


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Suppress the output of the planted faults."""
    with structlog.testing.capture_logs():
        yield


def plant(
    monkeypatch: pytest.MonkeyPatch, rows: FailuresInMemory, fault: type[BaseException]
) -> None:
    """Plant a fault that `bad` triggers wherever it is swept."""
    original = Assessor.__call__

    def planted(self: Assessor, customers: Any, *rest: Any) -> Any:
        if "bad" in customers.ids[customers.touched :]:
            rows.dead = issubclass(fault, Death)
            raise fault
        return original(self, customers, *rest)

    monkeypatch.setattr(Assessor, "__call__", planted)


async def everybody_due(rows: FailuresInMemory) -> ScoringWorker:
    """Provide customers who have bought once; the next tick is much later."""
    scoring = ScoringWorker(MemoryStore(), MemorySender(), replay=True, suspects=rows)
    for customer in CUSTOMERS:
        scoring.log.append(0, activity.event(f"e-{customer}", customer, activity.day(0)))
    scoring.log.append(0, activity.tick(activity.day(1)))
    await scoring.drain()
    scoring.log.append(0, activity.tick(activity.day(60)))
    return scoring


def looked_at(scoring: ScoringWorker) -> set[str]:
    """Return the customers who were swept at the last tick."""
    return {c for effects in scoring.done for c in effects.customers if not len(effects.events)}


async def test_one_that_raises_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = FailuresInMemory()
    scoring = await everybody_due(rows)
    scoring.done.clear()
    plant(monkeypatch, rows, KeyError)
    await scoring.drain()
    assert looked_at(scoring) == {*CUSTOMERS} - {"bad"}
    (held,) = rows.held.values()
    assert (held.kind, held.item, held.aside_at is not None) == (KIND, "bad", True)
    assert scoring.blameless >= ALONE_MAX


async def test_one_that_kills_costs_five_deaths(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, deaths = FailuresInMemory(), 0
    scoring = await everybody_due(rows)
    plant(monkeypatch, rows, Death)
    done: set[str] = set()
    while not scoring.at_end:
        rows = FailuresInMemory(dict(rows.begun), dict(rows.held))
        plant(monkeypatch, rows, Death)
        again = ScoringWorker(
            scoring.store, scoring.sender, replay=True, log=scoring.log, suspects=rows
        )
        try:
            await again.drain()
        except Death:
            deaths += 1
        done |= looked_at(again)
        scoring = again
        assert deaths <= ALONE_FROM + ALONE_MAX
    assert deaths == ALONE_FROM + ALONE_MAX
    assert done == {*CUSTOMERS} - {"bad"}
    assert [s.item for s in rows.held.values() if s.aside_at is not None] == ["bad"]


async def test_who_is_released_is_swept(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = FailuresInMemory()
    scoring = await everybody_due(rows)
    with monkeypatch.context() as planting:
        plant(planting, rows, KeyError)
        await scoring.drain()
    rows.held.clear()
    scoring.clock.seconds += READ_S
    scoring.done.clear()
    scoring.log.append(0, activity.tick(activity.day(90)))
    await scoring.drain()
    assert "bad" in looked_at(scoring)


async def test_a_fault_of_a_record_is_none_of_the_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fault ends the process, as before: the quarantine of records handles it."""
    rows = FailuresInMemory()
    scoring = await everybody_due(rows)

    def broken(*_: object) -> None:
        raise KeyError

    monkeypatch.setattr(Assessor, "__call__", broken)
    scoring.log.append(0, activity.event("e-2", "ann", activity.day(61)))
    with pytest.raises(KeyError):
        await scoring.drain()
    assert rows.held == {}
