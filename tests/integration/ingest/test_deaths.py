"""A raw record that ends process after process is set aside; all others are processed."""

import asyncio
import contextlib
import sys

import pytest

from deploy.local.waiting import free_port
from services.ingest.store.tables import SCHEMA
from shared.contracts.activity import DECODER
from shared.contracts.dead_letter import DeadLetter
from shared.kafka.producer import Producer, Record
from shared.kafka.quarantine import BATCH_DEATHS_MAX, DEATHS_MAX, REASON
from shared.postgres.engine import create_engine, unit_of_work
from tests.integration.ingest.running import LIMIT_S, ServiceEnvironment
from tests.unit.ingest.events import encoded

pytestmark = pytest.mark.stack

POISON = "poison-7"
GOOD = 40
WHERE = "services.ingest.handlers.accept_batch:accepted"


async def _process(place: ServiceEnvironment) -> "asyncio.subprocess.Process":
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.integration.planted_failure"),
        *("services.ingest", WHERE, POISON, "kill", "run"),
        env=place.environment({"EBBWATCH_INGEST_PORT": str(free_port())}),
    )


async def _lives(place: ServiceEnvironment, served: "asyncio.Task[None]") -> int:
    """Start processes in turn until the records are committed; return how many died."""
    deaths = 0
    while not served.done():
        process = await _process(place)
        dead = asyncio.create_task(process.wait())
        await asyncio.wait({served, dead}, return_when=asyncio.FIRST_COMPLETED, timeout=LIMIT_S)
        if dead.done():
            place.stack.forget_dead_members()
            deaths += 1
            assert deaths <= BATCH_DEATHS_MAX + DEATHS_MAX, "it dies of the same record for ever"
            continue
        assert served.done(), "the records are not through"
        process.terminate()
        assert await dead == 0
    return deaths


async def _served(place: ServiceEnvironment) -> None:
    """Wait until all records are committed: five processes have to die first."""
    for _ in range(4):
        with contextlib.suppress(TimeoutError):
            await place.committed({0: GOOD})
            return
    raise AssertionError("the records are not through")


@pytest.mark.timeout(240)
async def test_it_costs_five_deaths_and_no_good_record(
    place: ServiceEnvironment, upstream: Producer
) -> None:
    await upstream.send(
        Record(place.raw, b"k", encoded(id=POISON if n == 7 else str(n)), partition=0)
        for n in range(GOOD)
    )
    served = asyncio.create_task(_served(place))
    assert await _lives(place, served) == BATCH_DEATHS_MAX + DEATHS_MAX
    passed = await place.read(place.activity, GOOD - 1)
    ids = {DECODER.decode(r.value or b"").id for r in passed}
    assert ids == {str(n) for n in range(GOOD) if n != 7}
    (letter,) = await place.read(place.dead_letter, 1)
    found = DeadLetter.from_record(letter.key, letter.value, tuple(letter.headers))
    assert (found.origin.offset, found.reason, found.stage) == (7, REASON, "ingest")
    engine = create_engine(place.postgres, "test")
    async with unit_of_work(engine) as work:
        left = await work.driver.fetchval(f"SELECT count(*) FROM {SCHEMA}.unfinished")  # noqa: S608
    await engine.dispose()
    assert left == 0
