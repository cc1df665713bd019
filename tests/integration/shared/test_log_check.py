"""A compacted topic that was made anew is noticed, also once it is longer than the old one."""

import pytest
from aiokafka import AIOKafkaConsumer

from shared.kafka.log_check import misfit
from shared.postgres.ledger import Claim, Fingerprint
from tests.integration.shared.environment import BrokerEnvironment
from tests.integration.shared.test_fenced_start import numbered

pytestmark = pytest.mark.stack

OTHER = Fingerprint(1, b"of a record of the old log")


@pytest.mark.parametrize(
    ("next_offset", "compacted", "reason"),
    [
        (9, True, "the log ends at 5, before our offset 9"),
        (3, True, "record 2 is not the one we consumed"),
        (3, False, "record 2 is not the one we consumed"),
        (0, True, None),
    ],
)
async def test_another_log_is_noticed(
    place: BrokerEnvironment, next_offset: int, reason: str | None, *, compacted: bool
) -> None:
    """By its end, or by the last record that was read where it is still there."""
    await place.create(1)
    await place.write({0: numbered(0, 5)})
    consumer = AIOKafkaConsumer(**place.kafka.client_kwargs("test"))
    await consumer.start()
    try:
        claim = Claim(place.topic, 0, 1, next_offset, OTHER)
        found = await misfit(place.kafka, consumer, claim, compacted=compacted)
    finally:
        await consumer.stop()
    assert (found or "").startswith(reason or "")
    assert (found is None) == (reason is None)
