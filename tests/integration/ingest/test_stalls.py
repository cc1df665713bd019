"""A stall of ingest shows at the next scrape and at the readiness probe."""

from functools import partial

import pytest

from shared.kafka.partitions import partitions_of
from shared.kafka.producer import Producer, Record
from tests.integration.ingest.running import PARTITIONS, ServiceEnvironment, ingest
from tests.integration.stalls import Shown, show_a_held_lock

pytestmark = pytest.mark.stack

KEY = b"k-2"
"""Of a dead letter, which keeps its record's key: it is in partition 0."""


async def test_a_held_lock_shows(place: ServiceEnvironment, upstream: Producer) -> None:
    """Another session holds the table of dead letters.

    It is what ingest needs PostgreSQL for: events themselves go on without it.
    """
    assert partitions_of([KEY], PARTITIONS) == [0]
    bad = Record(place.raw, KEY, b"neither an event", partition=1)
    async with ingest(place) as service:
        shown = Shown("ingest", service.url)
        await show_a_held_lock(
            shown,
            place.database_url,
            "ingest.dead_letter",
            place.dead_letter,
            partial(upstream.send, [bad]),
        )
