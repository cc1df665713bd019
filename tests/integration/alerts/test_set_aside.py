"""An item that ends processes or raises is set aside, in each kind of loop; the others go on.

Each pass is a process of its own; the planted item kills it with SIGKILL or raises in it.
"""

import asyncio
import multiprocessing
import os
import signal
from datetime import date

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from services.alerts.__main__ import _add_commands
from services.alerts.commands.service import SPEC
from services.alerts.store import due_tasks
from services.alerts.store import erasure as erasure_store
from shared.contracts import events
from shared.contracts.events import Profile
from shared.postgres.engine import unit_of_work
from shared.runtime.isolation import ALONE_FROM, ALONE_MAX
from tests.integration.alerts.harness import AlertsHarness, rows
from tests.integration.alerts.one_pass import POLICY, one_pass
from tests.integration.alerts.test_planned import event
from tests.integration.commands import run_command
from tests.unit.alerts.samples import assessed

pytestmark = [pytest.mark.stack, pytest.mark.timeout(240)]

CUSTOMERS = ("c-1", "c-poison", "c-2")
PASSES = ALONE_FROM + ALONE_MAX + 1

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["tests.integration.alerts.one_pass"])

SUSPECTS = "SELECT kind, aside_at IS NOT NULL, reason FROM alerts.suspect ORDER BY kind"
DONE = {
    "tend": "SELECT customer_id FROM alerts.task WHERE status = 'closed' ORDER BY 1",
    "care": "SELECT customer_id FROM alerts.task WHERE kind = 'care' ORDER BY 1",
    "look": "SELECT endpoint_id FROM alerts.look WHERE watched_until IS NOT NULL ORDER BY 1",
}
WHERE = {
    "tend": "services.alerts.handlers.run_task_timers:RunTaskTimers._expire",
    "care": "services.alerts.handlers.raise_scheduled_tasks:planned_task",
    "look": "services.alerts.connectors.poll_changes:PollChanges._poll",
}
KIND = {"tend": "expiry", "care": "care", "look": "look crm-poison"}
BEGIN = {"tend": 40.0, "care": 1.0, "look": 1.0}
"""The day of the first pass."""
STEP = 0.01
"""Days between passes: a quarter of an hour, which is longer than any lease."""


@pytest.fixture
async def prepared(engine: AsyncEngine) -> AsyncEngine:
    """Provide three customers with a birthday on day 2 and a task open since day 1."""
    async with AlertsHarness(engine) as bench:
        bench.policy = POLICY
        born = Profile(birthday=date(1980, 10, 4))
        await bench.read_activity(
            *(event(customer, -9, events.PROFILE, profile=born) for customer in CUSTOMERS)
        )
        await bench.read_risk(*(assessed(1, 1, customer_id=customer) for customer in CUSTOMERS))
    return engine


async def _passes(url: str, loop: str, how: str, done: int = PASSES) -> int:
    """Run processes one after another; return how many were killed."""
    killed = 0
    for number in range(done):
        at = BEGIN[loop] + STEP * number
        process = PROCESSES.Process(target=one_pass, args=(url, loop, at, WHERE[loop], how))
        process.start()
        await asyncio.to_thread(process.join)
        assert process.exitcode in {0, -signal.SIGKILL}
        killed += process.exitcode != 0
    return killed


@pytest.mark.parametrize("loop", ["tend", "care", "look"])
async def test_one_that_kills_is_set_aside_after_five_deaths(
    prepared: AsyncEngine, database_url: str, loop: str
) -> None:
    assert await _passes(database_url, loop, "kill") == ALONE_FROM + ALONE_MAX
    assert [(k, aside) for k, aside, _ in await rows(prepared, SUSPECTS)] == [(KIND[loop], True)]
    good = [("crm-good",)] if loop == "look" else [("c-1",), ("c-2",)]
    assert await rows(prepared, DONE[loop]) == good
    assert await rows(prepared, "SELECT * FROM alerts.items_begun") == []


@pytest.mark.parametrize("loop", ["tend", "care"])
async def test_one_that_raises_ends_nothing(
    prepared: AsyncEngine, database_url: str, loop: str
) -> None:
    assert await _passes(database_url, loop, "raise", done=1) == 0
    assert await rows(prepared, DONE[loop]) == [("c-1",), ("c-2",)], "at once"
    assert await _passes(database_url, loop, "raise", done=ALONE_MAX) == 0
    ((kind, aside, reason),) = await rows(prepared, SUSPECTS)
    assert (kind, aside) == (KIND[loop], True)
    assert reason.startswith("Planted in planted_failure.py, line ")


async def _command(url: str, *arguments: str) -> tuple[int, str]:
    environment = {**os.environ, "DATABASE_URL": url}
    status, out, _ = await run_command(SPEC, _add_commands, environment, ["aside", *arguments])
    return status, out


async def test_an_operator_sees_it_and_releases_it(
    prepared: AsyncEngine, database_url: str
) -> None:
    await _passes(database_url, "tend", "raise", done=ALONE_MAX)
    status, shown = await _command(database_url, "list")
    assert (status, shown.count("\n")) == (0, 1)
    assert shown.startswith("expiry  ")
    assert "  aside since " in shown
    assert (await _command(database_url, "release", "expiry"))[0] == 0
    assert (await _command(database_url, "release", "expiry"))[0] == 1, "nothing is left"
    async with AlertsHarness(prepared) as bench:
        bench.clock.at, bench.policy = bench.clock.at.replace(year=2018), POLICY
        await bench.tend().iterate()
    assert await rows(prepared, DONE["tend"]) == [("c-1",), ("c-2",), ("c-poison",)]


async def test_a_step_that_raises_is_set_aside_and_the_others_go_on(
    prepared: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with AlertsHarness(prepared) as bench:
        bench.clock.at, bench.policy = bench.clock.at.replace(year=2018), POLICY
        tend = bench.tend()

        async def broken(*_: object) -> list[str]:
            raise KeyError("broken")

        monkeypatch.setattr(due_tasks, "quiet_over", broken)
        for _ in range(ALONE_MAX):
            await tend.iterate()
        assert await tend.isolation.note() is not None
        await tend.iterate()
    assert len(await rows(prepared, DONE["tend"])) == len(CUSTOMERS)
    ((kind, aside, _),) = await rows(prepared, SUSPECTS)
    assert (kind, aside) == ("step", True)


async def test_erasing_a_customer_erases_what_is_held_against_it(
    prepared: AsyncEngine, database_url: str
) -> None:
    await _passes(database_url, "care", "raise", done=1)
    assert len(await rows(prepared, SUSPECTS)) == 1
    async with unit_of_work(prepared) as work:
        await erasure_store.forget(work, "c-poison")
    assert await rows(prepared, SUSPECTS) == []
