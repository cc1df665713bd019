"""A stall of ingest shows at the next scrape and at the readiness probe."""

from functools import partial

import pytest

from shared.kafka.producer import Producer, Record
from tests.integration.ingest.running import ServiceEnvironment, ingest
from tests.integration.stalls import Shown, show_a_held_lock
from tests.unit.ingest.events import encoded

pytestmark = pytest.mark.stack


async def test_a_held_lock_shows(place: ServiceEnvironment, upstream: Producer) -> None:
    """Another session holds the table of the notes on the first batches after a claim."""
    record = Record(place.raw, b"k", encoded(), partition=0)
    async with ingest(place) as service:
        shown = Shown("ingest", service.url)
        send = partial(upstream.send, [record])
        await show_a_held_lock(shown, place.database_url, "ingest.unfinished", place.raw, send)
