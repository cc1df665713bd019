"""`policies tune` on stored assessments: what it prints and what it stores."""

import argparse
from collections.abc import AsyncIterator
from typing import Any

import pytest
from msgspec.structs import replace
from sqlalchemy.ext.asyncio import AsyncEngine

from services.alerts.commands.tune import _tune
from services.alerts.core.policy_document import Policy
from services.alerts.store.policies import Policies
from shared.contracts import events
from shared.contracts.activity import Activity, ActivityData
from shared.contracts.events import Owner, Profile
from shared.postgres.engine import unit_of_work
from tests.integration.alerts.harness import AlertsHarness
from tests.unit.alerts.samples import LAPSE, assessed, day

pytestmark = pytest.mark.stack

CUSTOMERS = 40


@pytest.fixture
async def kept(engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[AsyncEngine]:
    """Provide forty customers worth 1 to 40 on day 30; the first ten buy again. One is new."""
    monkeypatch.setenv("EBBWATCH_ALERTS_CLOCK", "replay")
    async with AlertsHarness(engine) as bench:
        await bench.read_risk(
            *(assessed(1, 1, customer_id=f"c-{n:02}", expected_value=float(n))
              for n in range(1, CUSTOMERS + 1)),
            assessed(1, 1, customer_id="new", lapse=replace(LAPSE, own_rhythm=False)),
        )  # fmt: skip
        await bench.read_activity(
            *(event(events.PURCHASE, f"c-{n:02}", 2, amount=1.0) for n in range(1, 11)),
            event(events.PROFILE, "c-01", 2, profile=Profile(owner=Owner(id="o-1"))),
            Activity(specversion="1.0", id="t", source="/t", type=events.TICK, time=day(30)),
        )
        async with unit_of_work(engine) as work:
            await Policies().put(work, Policy(name="ours"), "ann", day(0))
        yield engine


def event(kind: str, customer: str, at: float, **data: Any) -> Activity:
    return Activity(specversion="1.0", id=f"{customer}-{kind}", source="/t", type=kind,
                    time=day(at), subject=customer, data=ActivityData(**data))  # fmt: skip


def wanted(**changes: Any) -> argparse.Namespace:
    values = {"warnings_per_100": None, "per_owner_per_day": None, "days": 30, "customers": 5_000,
              "apply": False}  # fmt: skip
    return argparse.Namespace(**values | changes)


async def current(engine: AsyncEngine) -> tuple[int, Policy]:
    async with unit_of_work(engine) as work:
        return await Policies().current(work)


async def test_a_budget_is_found_shown_and_stored_only_when_it_is_to_be(
    kept: AsyncEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await _tune(wanted(warnings_per_100=50), kept) == 0
    shown = capsys.readouterr().out
    assert "40 customers with a rhythm of their own" in shown
    assert "40 warnings without a budget, 20 wanted" in shown
    assert (await current(kept))[1].budget == Policy().budget
    assert await _tune(wanted(warnings_per_100=50, apply=True), kept) == 0
    assert "version 2 is in force" in capsys.readouterr().out
    version, policy = await current(kept)
    budget = policy.budget
    assert (version, policy.name, budget.expected_value_min) == (2, "ours", 21.0)
    assert budget.expected is not None
    assert (budget.expected.warnings, budget.expected.precision) == (20, 1.0)
    assert (budget.curve[0].warnings, budget.curve[0].precision) == (40, 0.75)
    assert (budget.found_at, budget.warnings_per_100) == (day(30), 50)


async def test_a_budget_by_owner_and_day(
    kept: AsyncEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    """One owner with five working days a week: 30 days are 21.4, and half a task each is 10."""
    assert await _tune(wanted(per_owner_per_day=0.5, apply=True), kept) == 0
    _, policy = await current(kept)
    assert (policy.budget.expected_value_min, policy.budget.per_owner_per_day) == (31.0, 0.5)
    assert "11 wanted" in capsys.readouterr().out


async def test_where_there_are_fewer_warnings_than_wanted_nothing_is_held_back(
    kept: AsyncEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await _tune(wanted(warnings_per_100=101, apply=True), kept) == 0
    assert "the budget holds nothing back" in capsys.readouterr().out
    assert (await current(kept))[1].budget.expected_value_min is None


async def test_without_a_history_there_is_nothing_to_tune_on(
    engine: AsyncEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await _tune(wanted(warnings_per_100=5), engine) == 1
    assert "no customer with a rhythm of their own was assessed" in capsys.readouterr().err
