"""A stall of alerts shows at the next scrape and at the readiness probe."""

from functools import partial

import msgspec
import pytest

from shared.kafka.producer import Producer
from tests.integration.alerts.running import ServiceEnvironment, alerts
from tests.integration.stalls import Shown, show_a_held_lock
from tests.unit.alerts.samples import assessed

pytestmark = pytest.mark.stack


async def test_a_held_lock_shows(place: ServiceEnvironment, upstream: Producer) -> None:
    """Another session holds the table of tasks."""
    record = msgspec.structs.replace(place.risk(assessed(1, 0)), partition=0)
    async with alerts(place) as service:
        shown = Shown("alerts", service.url)
        send = partial(upstream.send, [record])
        await show_a_held_lock(shown, place.database_url, "alerts.task", record.topic, send)
