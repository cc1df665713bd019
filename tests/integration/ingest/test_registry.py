"""Records of Confluent's serializers, on the real broker, with a registry on loopback."""

from collections.abc import AsyncIterator

import httpx
import pytest

from shared.contracts.activity import DECODER
from shared.kafka.producer import Producer, Record
from tests.consumers import running
from tests.fakes.crm.serving import serving
from tests.fakes.schema_registry import FakeRegistry
from tests.integration.ingest.running import ServiceEnvironment, eventually, ingest
from tests.unit.ingest.events import encoded
from tests.unit.ingest.framing.samples import EVENT, avro, framed
from tests.unit.ingest.test_open_frames import BODY, BOUGHT

pytestmark = pytest.mark.stack

URL = "EBBWATCH_INGEST_REGISTRY_URL"
INDEXED = 'ebbwatch_ingest_dead_letters_indexed_total{stage="ingest"}'


@pytest.fixture
async def registry() -> AsyncIterator[FakeRegistry]:
    """Provide a registry."""
    fake = FakeRegistry()
    async with serving(fake):
        yield fake


async def test_records_of_the_official_serializers_become_events(
    place: ServiceEnvironment, registry: FakeRegistry
) -> None:
    """Avro, Protobuf and JSON Schema, with references, by number and in the header."""
    servers = ",".join([place.kafka.bootstrap_servers])
    async with ingest(place, {URL: registry.url}) as service:
        given = {"servers": servers, "registry": registry.url, "topic": place.raw}
        ids = await running.python("confluent_framed.py", given=given)
        await service.accepted(len(ids))
        found = [DECODER.decode(r.value or b"") for r in await place.read(place.activity, len(ids))]
    assert sorted(event.id for event in found) == sorted(ids)
    assert len(ids) == 7
    assert {(e.subject, e.data.original_amount, e.time.isoformat()) for e in found} == {
        ("c-1", "12.50", "2026-03-01T09:30:00+00:00")
    }
    assert await place.read(place.dead_letter, 0) == []


async def test_records_wait_for_the_registry_and_readiness_says_why(
    place: ServiceEnvironment, registry: FakeRegistry, upstream: Producer
) -> None:
    """Nothing is refused; what came behind waits too, and all goes on once it is back."""
    number = registry.register("orders-value", EVENT)
    registry.user, registry.password = "key", "not-given"
    waiting = [
        Record(place.raw, b"k", framed(number, BODY)),
        Record(place.raw, b"k", encoded(id="json")),
    ]
    async with ingest(place, {URL: registry.url}) as service:
        await upstream.send(waiting)
        answer = await service.until("/readyz", 503)
        assert "records wait: the schema registry answers 401" in answer.text
        assert await _lag(service.url) == len(waiting)
        registry.user = ""
        await service.accepted(2)
        await service.until("/readyz", 200)
    assert await place.read(place.dead_letter, 0) == []


async def _lag(url: str) -> float:
    """Return the lag that is shown, once it is."""
    lag = 0.0

    async def shown() -> bool:
        nonlocal lag
        async with httpx.AsyncClient() as client:
            lines = (await client.get(url + "/metrics")).text.splitlines()
        lags = [line for line in lines if line.startswith("ebbwatch_ingest_lag_records{")]
        lag = sum(float(line.rpartition(" ")[2]) for line in lags)
        return lag > 0

    await eventually(shown)
    return lag


async def test_a_framed_dead_letter_is_shown_and_replayed(
    place: ServiceEnvironment, registry: FakeRegistry, upstream: Producer
) -> None:
    """Its bytes are kept; a replay decodes them again, once the schema is registered."""
    late = registry.register("other-value", "string") + 1
    value = framed(late, avro(EVENT, {**BOUGHT, "id": "late"}))
    async with ingest(place, {URL: registry.url}) as service:
        await upstream.send([Record(place.raw, b"k", value, partition=1)])
        await service.reaches(INDEXED, 1)
        listed = await place.command("dead-letters", "list")
        assert f"schema {late} is not in the registry" in listed
        shown = await place.command("dead-letters", "show", "1")
        assert "\\x00" in shown
        assert registry.register("orders-value", EVENT) == late
    async with ingest(place, {URL: registry.url}) as service:  # which knows of nothing absent
        await place.command("dead-letters", "replay", "1")
        await service.accepted(1)
    (event,) = [DECODER.decode(r.value or b"") for r in await place.read(place.activity, 1)]
    assert (event.id, event.data.original_amount) == ("late", "12.50")
