"""Sources with a mapping: their own records from a raw topic of their own to activity events."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from deploy.local import topics as creating
from services.ingest.inbound.mapping_files import read_mapping
from services.ingest.store.mappings import Mappings
from shared.contracts.activity import DECODER
from shared.contracts.topics import Topic
from shared.kafka.producer import Producer, Record
from shared.kernel.errors import Invalid
from shared.postgres.engine import create_engine
from tests.integration.ingest.running import PARTITIONS, ServiceEnvironment, ingest
from tests.unit.ingest.events import encoded
from tests.unit.ingest.mapping.corpus import corpora

pytestmark = pytest.mark.stack

NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
async def engine(place: ServiceEnvironment) -> AsyncIterator[AsyncEngine]:
    """Provide the database of the test's service."""
    engine = create_engine(place.postgres, "test")
    yield engine
    await engine.dispose()


async def _topic(place: ServiceEnvironment, name: str) -> str:
    """Create a raw topic of a source."""
    topic = f"{name}-{place.mark}"
    await creating.create(place.kafka, (Topic(topic, PARTITIONS),))
    return topic


CART = """
  - rule: cart
    match: cart
    type: interaction
    id: concat('cart-', cart)
    time: arrived()
    customer: {value: c-1}
    kind: {value: cart}
"""


async def test_a_shops_own_records_become_events(
    place: ServiceEnvironment, upstream: Producer, tmp_path: Path
) -> None:
    """A mapping that is put while the service runs is in force without a restart.

    CloudEvents of the other topic go on; what a mapping cannot use is a dead letter that replays
    to where it came from, and becomes an event once the mapping is mended.
    """
    orders = await _topic(place, "shopify")
    (shop,) = [corpus for corpus in corpora() if corpus.mapping == "shopify"]
    values = [json.dumps(record).encode() for record in shop.records.values()]
    async with ingest(place) as service:
        await upstream.send([Record(place.raw, b"k", encoded(id="native"))])
        await service.accepted(1)
        said = await place.command("mappings", "put", "shopify", "--topic", orders)
        assert "shopify, version 1, is in force" in said
        await upstream.send([Record(orders, None, value) for value in values])
        await service.accepted(4)
        await service.reaches('ebbwatch_ingest_ignored_total{mapping="shopify"}', 1)
        await upstream.send([Record(orders, b"k", b'{"cart": 1}', partition=1)])
        await upstream.send([Record(place.raw, b"k", encoded(id="native-2"))])
        await service.accepted(5)
        await service.reaches('ebbwatch_ingest_dead_letters_indexed_total{stage="ingest"}', 1)
        assert "no rule of the mapping 'shopify'" in await place.command("dead-letters", "list")
        mended = tmp_path / "shopify.yaml"
        mended.write_text(read_mapping("shopify")[0] + CART)
        mended_at = datetime.now(UTC)
        put = ("mappings", "put", str(mended), "--topic", orders, "--note", "carts")
        assert "version 2" in await place.command(*put)
        assert "carts" in await place.command("mappings", "list")
        await service.reaches('ebbwatch_ingest_mapping_version{mapping="shopify"}', 2)
        await place.command("dead-letters", "replay", "--all")
        activity = await place.read(place.activity, 10)
        assert await service.stop() == 0
    events = {each.id: each for each in (DECODER.decode(r.value or b"") for r in activity)}
    assert events["cart-1"].time < mended_at, "the time of arrival is that of the first one"
    assert events["cart-1"].receivedms > mended_at.timestamp() * 1000
    assert sorted(events) == [
        "cancelled-5551003",
        "cart-1",
        "customer-207119551-2026-02-01T12:00:00-05:00",
        "native",
        "native-2",
        "order-5551001",
        "order-5551002",
        "order-5551003",
        "refund-929361462",
        "refund-929361463",
    ]


async def test_a_topic_that_does_not_exist_holds_nothing_up(
    place: ServiceEnvironment, upstream: Producer
) -> None:
    """A typing error at `mappings put` stops no other topic, nor does a restart then."""
    version = 'ebbwatch_ingest_mapping_version{mapping="segment"}'
    async with ingest(place) as service:
        nowhere = f"nowhere-{place.mark}"
        said = await place.command("mappings", "put", "segment", "--topic", nowhere)
        assert f"records of the topic {nowhere} are read by it" in said
        await service.reaches(version, 1)
        await upstream.send([Record(place.raw, b"k", encoded(id=str(n))) for n in range(3)])
        await service.accepted(3)
        assert await service.stop() == 0
    async with ingest(place) as service:
        await service.reaches(version, 1)
        await upstream.send([Record(place.raw, b"k", encoded(id="later"))])
        await service.accepted(1)


async def test_versions_and_what_they_are_for(
    place: ServiceEnvironment, engine: AsyncEngine
) -> None:
    """Each put is a version of its own; a topic belongs to one mapping."""
    store = Mappings(engine)
    assert await store.current() == []
    assert await store.put("a", "doc 1", ("t1",), ("h1",), "me", NOW) == 1
    assert await store.put("a", "doc 2", ("t1", "t2"), (), "me", NOW, "why") == 2
    with pytest.raises(Invalid, match="t2 belongs to the mapping a"):
        await store.put("b", "doc", ("t2",), (), "me", NOW)
    assert await store.put("b", "doc", ("t3",), ("h1",), "me", NOW) == 1
    with pytest.raises(Invalid, match="h1 belongs to the mapping b"):
        await store.put("a", "doc 3", (), ("h1",), "me", NOW)
    first, second = await store.current()
    assert (first.name, first.version, first.topics, first.note) == ("a", 2, ("t1", "t2"), "why")
    assert second.name == "b"
    assert [each.document for each in await store.versions("a", 10)] == ["doc 2", "doc 1"]
    assert "# a  version 2" in await place.command("mappings", "show", "a")
