"""The intake as a whole: a flood of bad records stops it; ticks reach every partition."""

import pytest

from shared.contracts import events as types
from shared.contracts.activity import DECODER
from shared.kafka.producer import Producer, Record
from tests.integration.ingest.running import PARTITIONS, ServiceEnvironment, ingest
from tests.unit.ingest.events import encoded

pytestmark = pytest.mark.stack

STOPPED = "ebbwatch_ingest_stopped"


async def test_a_flood_stops_the_intake_until_an_operator_decides(
    place: ServiceEnvironment, upstream: Producer
) -> None:
    """1,000 refused records in a row stop the consumption, visibly.

    A restart does not continue; the operator's command does, and then nothing was lost.
    """
    poison = [Record(place.raw, b"k", b"?", partition=0)] * 1_000
    good = [Record(place.raw, b"k", encoded(id=str(n)), partition=0) for n in range(5)]
    await upstream.send([*poison, *good])
    small = {"EBBWATCH_INGEST_BATCH_RECORDS_MAX": "100"}
    async with ingest(place, small, ready=False) as service:
        await service.reaches(STOPPED, 1)
        lag = f'{{partition="0",topic="{place.raw}"}}'
        await service.reaches(f"ebbwatch_ingest_lag_records{lag}", 5)
        await service.reaches(f"ebbwatch_ingest_lag_seconds{lag}", 0.001)
        reported = await service.until("/readyz", 503)
        assert "100% of the last 1,000 records were refused" in reported.json()["missing"]["intake"]
        await service.until("/livez", 200)
        assert await service.stop() == 0
    assert len(await place.read(place.dead_letter, 1_000)) == 1_000
    assert "refused" in await place.command("intake", "status")
    async with ingest(place, small, ready=False) as service:
        await service.reaches(STOPPED, 1)
        assert await place.read(place.activity, 0) == []
        await place.command("intake", "resume")
        await service.until("/readyz", 200)
        activity = await place.read(place.activity, 5)
    assert [DECODER.decode(r.value or b"").id for r in activity] == list("01234")


async def test_control_events_reach_every_partition_in_order(
    place: ServiceEnvironment, upstream: Producer
) -> None:
    """In every partition a tick stands between the records sent before it and those sent after it.

    The end of a backfill names its import (invariants 4 and 9).
    """
    marker = (("ebbwatch-backfill", b"import-7"),)
    ended = encoded(id="ended", type=types.BACKFILL_ENDED, subject=None, data=None)
    tick = encoded(id="tick", type=types.TICK, subject=None, data=None, time="2017-05-01T00:00:00Z")
    customers = [f"customer-{n}" for n in range(20)]
    stream = [Record(place.raw, b"k", encoded(id="old", subject=c), marker) for c in customers]
    stream += [Record(place.raw, b"k", ended, marker), Record(place.raw, b"k", tick)]
    stream += [Record(place.raw, b"k", encoded(id="new", subject=c)) for c in customers]
    await upstream.send(stream)
    async with ingest(place):
        activity = await place.read(place.activity, 2 * len(customers) + 2 * PARTITIONS)
    for partition in range(PARTITIONS):
        events = [DECODER.decode(r.value or b"") for r in activity if r.partition == partition]
        half = (len(events) - 2) // 2
        assert half > 0
        assert [e.id for e in events] == ["old"] * half + ["ended", "tick"] + ["new"] * half
        assert [e.backfill for e in events] == ["import-7"] * (half + 1) + [None] * (half + 1)
        assert (events[half + 1].type, events[half + 1].time.year) == (types.TICK, 2017)
