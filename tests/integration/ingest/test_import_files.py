"""The command `import` on the real broker: once, twice, interrupted, with rejected rows."""

import asyncio
import csv
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from shared.contracts import events as types
from shared.contracts.activity import DECODER, Activity
from shared.contracts.headers import BACKFILL
from shared.kafka.batch import ConsumedRecord
from tests.integration.ingest.running import (
    LIMIT_S,
    PARTITIONS,
    ServiceEnvironment,
    eventually,
    ingest,
)

pytestmark = pytest.mark.stack

HEAD = "order_id,customer_id,order_date,amount\n"


def orders(folder: Path, count: int, name: str = "orders.csv") -> Path:
    path = folder / name
    rows = "".join(f"A{n},c{n % 97},2024-03-{n % 28 + 1:02} 10:00,{n}.50\n" for n in range(count))
    path.write_text(HEAD + rows)
    return path


async def started(place: ServiceEnvironment, *arguments: object) -> "asyncio.subprocess.Process":
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "services.ingest", "import", *map(str, arguments)),
        env=place.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


async def imported(place: ServiceEnvironment, *arguments: object) -> tuple[int, str]:
    """Run the command; return its exit status and what it printed on both streams."""
    process = await started(place, *arguments)
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode() + err.decode()


def split(records: list[ConsumedRecord]) -> tuple[list[dict[str, object]], list[str]]:
    """Return the events on the raw topic, and the imports that markers end; all in one partition.

    A marker comes behind every event of its import.
    """
    assert len({record.partition for record in records}) == 1
    events, ended = [], []
    for record in records:
        event = json.loads(record.value or b"")
        name = (dict(record.headers)[BACKFILL] or b"").decode()
        assert name not in ended
        if event["type"] == types.BACKFILL_ENDED:
            ended.append(name)
        else:
            events.append(event)
    return events, ended


async def test_a_file_becomes_silent_activity_and_its_import_ends(
    place: ServiceEnvironment, tmp_path: Path
) -> None:
    status, shown = await imported(place, orders(tmp_path, 500))
    assert status == 0, shown
    assert "customer_id = customer_id, ts = order_date, event_id = order_id" in shown
    assert "sent 500 of 500 events of 97 customers" in shown
    events, ended = split(await place.read(place.raw, 501))
    assert len(events) == 500
    assert len(ended) == 1
    async with ingest(place):
        activity = await place.read(place.activity, 500 + PARTITIONS)
    found: list[Activity] = [DECODER.decode(record.value or b"") for record in activity]
    purchases = [each for each in found if each.type == types.PURCHASE]
    assert {each.id for each in purchases} == {f"A{n}" for n in range(500)}
    assert {each.backfill for each in found} == set(ended)
    assert sum(each.data.amount or 0 for each in purchases) == sum(n + 0.5 for n in range(500))
    assert await place.read(place.dead_letter, 0) == []
    assert os.listdir(tmp_path) == ["orders.csv"], "notes are left behind"  # noqa: PTH208


@pytest.mark.parametrize("head", [HEAD, HEAD.replace("order_id", "note")])
async def test_the_same_file_twice_is_the_same_events(
    place: ServiceEnvironment, tmp_path: Path, head: str
) -> None:
    path = orders(tmp_path, 50)
    # Without ids, equal rows are events of their own: they must stay two, twice.
    body = path.read_text().partition("\n")[2]
    equal = body.partition("\n")[0].replace("A0", "A50") + "\n"
    path.write_text(head + body + equal)
    for _ in range(2):
        status, shown = await imported(place, path)
        assert status == 0, shown
    values = [record.value or b"" for record in await place.read(place.raw, 104)]
    events = [value for value in values if types.BACKFILL_ENDED.encode() not in value]
    assert len(events) == 2 * 51
    assert len(set(events)) == 51


async def test_an_interrupted_import_ends_and_goes_on(
    place: ServiceEnvironment, tmp_path: Path
) -> None:
    count = 150_000
    path = orders(tmp_path, count)
    process = await started(place, path)
    await eventually(lambda: _has_records(place))
    process.send_signal(signal.SIGINT)
    _, err = await process.communicate()
    assert process.returncode == 130, err
    assert b"the same command goes on behind them" in err
    first, ended = split(await place.read(place.raw, 2))
    assert 0 < len(first) < count, "it was over before it was interrupted: nothing was proven"
    assert len(ended) == 1
    status, shown = await imported(place, path)
    assert status == 0, shown
    assert f"goes on after {len(first):,} events" in shown
    events, ended = split(await place.read(place.raw, count + 2))
    assert len(ended) == 2
    assert len(events) == count, "events were sent again"
    assert {event["id"] for event in events} == {f"A{n}" for n in range(count)}


async def test_rejected_rows_are_corrected_and_imported(
    place: ServiceEnvironment, tmp_path: Path
) -> None:
    path = orders(tmp_path, 20)
    long = "x" * 300
    path.write_text(
        path.read_text()
        + f"A20,c1,soon,1.00\nA21,c1,2024-03-01 10:00,much\n{long},c2,2024-03-02,1.5\n"
    )
    status, shown = await imported(place, path)
    assert status == 3, shown
    assert "rejected rows: 3; correct them in" in shown
    rejects = tmp_path / "orders.rejects.csv"
    with rejects.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["order_id", "customer_id", "order_date", "amount", "reason"]
    assert [row[-1].partition(":")[0] for row in rows[1:]] == ["ts", "amount", "id"]
    rejects.write_text(
        rejects.read_text("utf-8-sig").replace("soon", "2024-03-09 10:00")
        .replace("much", "2.00").replace(long, "A22")
    )  # fmt: skip
    again = shown.partition("python -m services.ingest import ")[2].partition("\n")[0].split()
    status, shown = await imported(place, *again)
    assert status == 0, shown
    assert "not used: reason" in shown
    async with ingest(place):
        activity = await place.read(place.activity, 23)
    found = [DECODER.decode(record.value or b"") for record in activity]
    assert {each.id for each in found if each.type == types.PURCHASE} == {
        f"A{n}" for n in range(23)
    }
    assert await place.read(place.dead_letter, 0) == []


async def test_news_have_no_header_and_no_marker(place: ServiceEnvironment, tmp_path: Path) -> None:
    status, shown = await imported(place, "--live", orders(tmp_path, 30))
    assert status == 0, shown
    records = await place.read(place.raw, 30)
    assert len(records) == 30
    assert not any(name == BACKFILL for record in records for name, _ in record.headers)


async def test_a_broker_that_is_away_names_the_setting(
    place: ServiceEnvironment, tmp_path: Path
) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "services.ingest", "import", str(orders(tmp_path, 3))),
        env=place.environment({"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9"}),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    _, err = await process.communicate()
    assert process.returncode == 1
    assert b"the broker at 127.0.0.1:9 (KAFKA_BOOTSTRAP_SERVERS) cannot be used" in err
    assert b"nothing was sent" in err
    assert b"Traceback" not in err


async def _has_records(place: ServiceEnvironment) -> bool:
    consumer = AIOKafkaConsumer(**place.kafka.client_kwargs("test"))
    await consumer.start()
    try:
        async with asyncio.timeout(LIMIT_S):
            ends = await consumer.end_offsets(
                [TopicPartition(place.raw, n) for n in range(PARTITIONS)]
            )
    finally:
        await consumer.stop()
    return any(ends.values())
