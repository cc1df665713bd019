"""What the three services report to Prometheus: well-formed, complete, and true of one event."""

import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import httpx
import orjson
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as plain

from deploy.demo.services import NAMES
from deploy.metrics import SERVICES, declared
from shared.contracts.topics import RAW
from shared.kafka.producer import Producer, Record
from tests.consumers.running import missing
from tests.e2e.services_on_history import World

pytestmark = pytest.mark.timeout(200)

LIMIT_S = 60.0
"""Longest wait for anything, in seconds: far above what is needed."""
OPENMETRICS = {"Accept": "application/openmetrics-text; version=1.0.0"}


async def publish(world: World) -> None:
    """Publish one event, and wait until the last service has handled it."""
    event = {
        "specversion": "1.0", "type": "io.ebbwatch.purchase", "source": "/shop", "id": "1",
        "subject": "ann", "time": datetime.now(UTC).isoformat(),
        "data": {"amount": "20.50", "currency": "USD"},
    }  # fmt: skip
    producer = Producer(world.stack.kafka.settings, "test")
    await producer.send([Record(RAW.name, b"ann", orjson.dumps(event))])
    await producer.close()

    async def handled() -> bool:
        latency = "ebbwatch_alerts_event_latency_seconds_count"
        assessed = "ebbwatch_scoring_event_latency_seconds_count"
        counted = world.services.counted
        return await counted("alerts", latency) > 0 and await counted("scoring", assessed) > 0

    async def seen() -> bool:
        counted, waiting = world.services.counted, ("freshness_seconds", "lag_records")
        left = [await counted(n, f"ebbwatch_{n}_{each}") for n in NAMES for each in waiting]
        return not any(left)

    await world.services.wait(handled, "the event to be handled", LIMIT_S)
    # Lag is read from outside the consumers, each second.
    await world.services.wait(seen, "lag and freshness to be read again", LIMIT_S)


def check(text: str) -> None:
    """Fail with what promtool finds fault with."""
    promtool = shutil.which("promtool") or missing("apt-get install prometheus")
    done = subprocess.run(
        [promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


async def test_metrics_are_well_formed_and_true(folder: Path, environ: dict[str, str]) -> None:
    """Promtool accepts them; every declared metric is there, in both formats, and none else."""
    async with World.open(folder, environ, clock="live") as world, httpx.AsyncClient() as client:
        await publish(world)
        for name in NAMES:
            url = world.services.url(name) + "/metrics"
            text = (await client.get(url)).text
            check(text)
            other = (await client.get(url, headers=OPENMETRICS)).text
            families = {family.name: family for family in openmetrics(other)}  # type: ignore[no-untyped-call]
            assert not [f for f in families if f.endswith("_created")]
            ours = {f for f in families if f.startswith("ebbwatch_")}
            wanted = {each.name.removesuffix("_total") for each in declared(SERVICES[name])}
            assert ours == wanted
            values = {
                (
                    sample.name.removeprefix(f"ebbwatch_{name}_"),
                    *sorted(sample.labels.values()),
                ): sample.value
                for family in plain(text)
                for sample in family.samples
            }
            assert values["freshness_seconds",] == 0
            assert values["event_latency_seconds_count",] == 1
            assert values["event_latency_seconds_bucket", "60.0"] == 1
            assert values["fence_losses_total",] == 0
            assert 0 <= values["ends_age_seconds",] < LIMIT_S
            assert {v for key, v in values.items() if key[0] == "ready"} == {1.0}
            assert {v for key, v in values.items() if key[0] == "lag_records"} == {0.0}
