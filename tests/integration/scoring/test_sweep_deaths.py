"""A customer is set aside when sweeps of that customer end several processes, on real tables."""

import asyncio
import multiprocessing
import signal

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from shared.runtime.isolation import ALONE_FROM, ALONE_MAX
from tests.integration.scoring.batch_process import CUSTOMERS, turns
from tests.integration.scoring.postgres import table

pytestmark = [pytest.mark.stack, pytest.mark.timeout(240)]

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["tests.integration.scoring.batch_process"])

FIRST, LATER = 1.0, 60.0
GOOD = {*CUSTOMERS} - {"poisoned-bob"}


async def _process(url: str, days: list[float], how: str | None = None) -> int:
    process = PROCESSES.Process(target=turns, args=(url, days, how))
    process.start()
    await asyncio.to_thread(process.join)
    return process.exitcode or 0


async def _swept(engine: AsyncEngine) -> set[str]:
    """Return who was assessed at the later tick, by the time of the next timer."""
    rows = await table(engine, "timer")
    latest = max(row["due_at"] for row in rows)
    return {row["customer_id"] for row in rows if row["due_at"] == latest}


@pytest.mark.parametrize(("how", "deaths"), [("kill", ALONE_FROM + ALONE_MAX), ("raise", 0)])
async def test_the_others_are_swept_and_the_tick_is_passed(
    engine: AsyncEngine, database_url: str, how: str, deaths: int
) -> None:
    assert await _process(database_url, [FIRST]) == 0
    died = 0
    while status := await _process(database_url, [FIRST, LATER], how):
        assert status == -signal.SIGKILL
        died += 1
        assert died <= deaths
    assert died == deaths
    assert await _swept(engine) == GOOD
    (held,) = await table(engine, "suspect")
    assert (held["kind"], held["item"], held["aside_at"] is not None) == (
        "sweep",
        "poisoned-bob",
        True,
    )
    assert await table(engine, "items_begun") == []
