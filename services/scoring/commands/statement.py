"""Sends an operator's statement about a customer to the activity topic, as any source may."""

import uuid

from services.scoring.settings import ScoringSettings
from shared.contracts.activity import ENCODER, Activity, ActivityData
from shared.contracts.customers import is_customer
from shared.contracts.events import ID_LENGTH_MAX, id_fault
from shared.kafka.producer import Producer, Record
from shared.kafka.settings import KafkaSettings
from shared.kernel.errors import Invalid
from shared.runtime.clock import SystemClock

SOURCE = "operator"
"""Source of these statements; their ids are new ones each time."""


def check(field: str, customer: str) -> None:
    """Raises Invalid, naming the field, for what is no customer id."""
    if (
        not is_customer(customer)
        or len(customer) > ID_LENGTH_MAX
        or id_fault(customer)
        or "\0" in customer
    ):
        raise Invalid(field, f"{customer[:80]!r} can be no customer's id")


async def send(kind: str, subject: str, data: ActivityData, client: str) -> None:
    """Sends an event of this type about a customer; `client` is the Kafka client's id."""
    now = SystemClock().now()
    event = Activity(
        specversion="1.0",
        id=str(uuid.uuid4()),
        source=SOURCE,
        type=kind,
        time=now,
        subject=subject,
        receivedms=int(now.timestamp() * 1000),
        data=data,
    )
    producer = Producer(KafkaSettings(), client)
    try:
        topic = ScoringSettings().activity_topic
        await producer.send([Record(topic, subject.encode(), ENCODER.encode(event))])
    finally:
        await producer.close()
